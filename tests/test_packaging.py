"""What the wheel holds: a folder missing from `packages` works in a checkout and is absent from the
wheel."""

import re
import tomllib

from .helpers.sources import FILES, FLOORS, ROOT, source

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def folders() -> set[str]:
    """Every folder of Python files that is part of the package."""
    inits = (init for floor in FLOORS for init in (ROOT / floor).rglob("__init__.py"))
    return {
        "thespis",
        *(".".join(("thespis", *init.parent.relative_to(ROOT).parts)) for init in inits),
    }


def test_every_folder_is_packaged() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == folders()


def test_no_other_folder_is_a_package() -> None:
    """What lies beside the floors is not shipped."""
    beside = {init.parent.name for init in ROOT.glob("*/__init__.py")} - set(FLOORS)
    assert beside <= {"tests", "scripts", "docs", "build", "dist"}


def test_every_python_file_is_in_a_package() -> None:
    packaged = folders()
    for file in FILES:
        assert ".".join(("thespis", *file.parent.parts)) in packaged, (
            f"{file.parent} has no __init__.py"
        )


def test_data_files_are_there() -> None:
    for pattern in PROJECT["tool"]["setuptools"]["package-data"]["thespis"]:
        assert list(ROOT.glob(pattern)), f"package-data names {pattern}, and nothing is there"


def test_nothing_in_the_root_hides_the_package() -> None:
    assert not (ROOT / "thespis").exists()
    assert not (ROOT / "conftest.py").exists()
    assert not list((ROOT / "tests").rglob("__init__.py"))


IMPORTED_AS = {
    "huggingface-hub": "huggingface_hub",
    "pillow": "PIL",
    "prometheus-client": "prometheus_client",
    "pyyaml": "yaml",
    "pyzmq": "zmq",
}


def test_what_is_installed_with_the_package_is_what_it_imports() -> None:
    """What tests alone import belongs to the extra of the tests."""
    imported = {name[1] for file in FILES for name in source(file).imports if name[0] == ""}
    named = [re.split(r"[><=]", entry)[0] for entry in PROJECT["project"]["dependencies"]]
    assert [name for name in named if IMPORTED_AS.get(name, name) not in imported] == []


def test_the_constraints_pin_what_the_project_allows() -> None:
    pinned = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line
    )
    assert {"torch", "transformers"} <= pinned.keys()
    allowed = {re.split(r"[><=]", entry)[0]: entry for entry in PROJECT["project"]["dependencies"]}
    for name in ("torch", "transformers"):
        low = re.search(r">=([\d.]+)", allowed[name])
        assert low is not None
        assert [int(n) for n in pinned[name].split(".")[:2]] >= [
            int(n) for n in low.group(1).split(".")[:2]
        ]
