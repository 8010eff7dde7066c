"""Each module can be imported alone, and what must start fast and small never imports torch or
transformers."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import version
from pathlib import Path

import pytest

import thespis

from .test_floors import WITH_TORCH

ROOT = Path(thespis.__file__).parent
HEAVY = ("torch", "transformers", "librosa", "scipy", "PIL", "av", "pypdfium2")
LIGHT = [
    "thespis",
    "thespis.protocol.topology",
    "thespis.protocol.config.engine",
    "thespis.actors.kernel.entry",
    "thespis.actors.director.life",
    "thespis.actors.director.zygote",
    "thespis.actors.fetcher.actor",
    "thespis.actors.scheduler.actor",
    "thespis.actors.detokenizer.actor",
    "thespis.actors.preprocessor.actor",
    "thespis.frontends.client.client",
    "thespis.frontends.engine",
    "thespis.frontends.openai.main",
    "thespis.frontends.cli.main",
]


def modules() -> list[str]:
    """Every module of the package but the entry points and what needs torch, which takes seconds
    each."""
    found = []
    for floor in ("protocol", "actors", "frontends"):
        for path in sorted((ROOT / floor).rglob("*.py")):
            name = ".".join(("thespis", *path.relative_to(ROOT).with_suffix("").parts))
            if path.stem not in ("__init__", "__main__"):
                found.append(name)
    return found


def run(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )


def test_one_module_draws_pages_and_imports_what_does_so_when_it_is_asked() -> None:
    """In the worker that may be killed, and in no process that it is forked from."""
    named = {
        str(path.relative_to(ROOT))
        for floor in ("protocol", "gpu_runtime", "actors", "frontends")
        for path in (ROOT / floor).rglob("*.py")
        if "pypdfium2" in path.read_text()
    }
    assert named == {"actors/decode_worker/documents.py"}
    tree = ast.parse((ROOT / "actors/decode_worker/documents.py").read_text())
    at_once = [
        ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not any("pypdfium2" in text for text in at_once)


def test_light_modules_import_nothing_heavy() -> None:
    """One after the other in one interpreter: whoever is the first to import something heavy is
    named."""
    code = (
        "import importlib, sys\nlight, heavy = (words.split(',') for words in sys.argv[1:])\n"
        "for module in light:\n"
        "    importlib.import_module(module)\n"
        "    found = [name for name in heavy if name in sys.modules]\n"
        "    if found: sys.exit(f'{module} imports {found}')"
    )
    result = run(code, ",".join(LIGHT), ",".join(HEAVY))
    assert (result.stderr, result.returncode) == ("", 0)
    heavy = run(code, "thespis.protocol.topology,PIL", ",".join(HEAVY))
    assert heavy.stderr == "PIL imports ['PIL']\n", "it would be found"


def test_the_package_gives_its_faces_lazily() -> None:
    assert (
        run(
            "import thespis, sys; print([m for m in sys.modules if m.startswith('thespis.')])"
        ).stdout
        == "[]\n"
    )
    everything = run(
        "from thespis import *; import thespis; print(all(name in dir(thespis) for name in "
        "thespis.__all__))"
    )
    assert (everything.stdout, everything.returncode) == ("True\n", 0), everything.stderr
    assert run("import thespis; print(thespis.__version__)").stdout == f"{version('thespis')}\n"
    refused = run("import thespis; thespis.Nothing")
    assert "module 'thespis' has no attribute 'Nothing'" in refused.stderr


def imported(file: Path) -> Iterator[str]:
    """The modules of ours that `file` needs while it is imported: what only a function imports does
    not count."""
    waiting: list[ast.AST] = [ast.parse(file.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ImportFrom) and node.level:
            package = file.relative_to(ROOT).parts[: -node.level]
            base = ".".join(("thespis", *package, *filter(None, [node.module])))
            yield from (
                f"{base}.{alias.name}" if place(f"{base}.{alias.name}") else base
                for alias in node.names
            )
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if place(name) else str(node.module) for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def place(module: str) -> Path | None:
    """The file of a module of ours that is no package."""
    path = ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return path if module.startswith("thespis.") and path.is_file() else None


@pytest.mark.timeout(60)
def test_every_module_can_be_imported_alone() -> None:
    """Each is imported, and none needs itself: where there is no circle, it does not matter which
    is imported first."""
    needs = {
        name: {need for need in imported(place(name) or ROOT) if place(need)} for name in modules()
    }
    assert len(needs["thespis.frontends.engine"]) > 3
    TopologicalSorter(needs).prepare()  # raises what the circle is
    torch = tuple(f"thespis.actors.{folder}." for _, folder in WITH_TORCH)
    alone = [name for name in modules() if not name.startswith(torch)]
    result = run(
        "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]", *alone
    )
    assert (result.stdout, result.returncode) == ("", 0), result.stderr


def test_a_circle_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.py").write_text("from .b import x")
    (tmp_path / "one" / "b.py").write_text(
        "try:\n    from thespis.one import a\nexcept ImportError:\n    pass"
    )
    needs = {
        name: set(imported(place(name) or ROOT)) for name in ("thespis.one.a", "thespis.one.b")
    }
    with pytest.raises(CycleError):
        TopologicalSorter(needs).prepare()
