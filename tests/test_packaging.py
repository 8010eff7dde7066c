"""What the wheel holds: a folder missing from `packages` works in a checkout and is absent from the
wheel."""

import ast
import re
import tomllib
from pathlib import Path

import thespis

ROOT = Path(thespis.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOT_SHIPPED = ("tests", "scripts", "docs", "build", "dist")


def folders() -> set[str]:
    """Every folder of Python files that is part of the package."""
    found = {"thespis"}
    for init in ROOT.rglob("__init__.py"):
        parts = init.parent.relative_to(ROOT).parts
        if (
            parts
            and parts[0] not in NOT_SHIPPED
            and not any(part.startswith(".") for part in parts)
        ):
            found.add(".".join(("thespis", *parts)))
    return found


def test_every_folder_is_packaged() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == folders()


def test_every_python_file_is_in_a_package() -> None:
    packaged = folders()
    for floor in ("protocol", "gpu_runtime", "actors", "frontends"):
        for path in (ROOT / floor).rglob("*.py"):
            assert ".".join(("thespis", *path.parent.relative_to(ROOT).parts)) in packaged, (
                f"{path.parent} has no __init__.py"
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
    "pyzmq": "zmq",
}


def test_what_is_installed_with_the_package_is_what_it_imports() -> None:
    """What tests alone import belongs to the extra of the tests."""
    imported = {
        name.split(".")[0]
        for floor in ("protocol", "gpu_runtime", "actors", "frontends")
        for path in (ROOT / floor).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
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
