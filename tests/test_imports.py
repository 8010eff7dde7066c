"""Each module can be imported alone, and what must start fast and small never imports torch or transformers."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import thespis

ROOT = Path(thespis.__file__).parent
HEAVY = ("torch", "transformers", "librosa", "scipy", "PIL", "av")
LIGHT = [
    "thespis",
    "thespis.protocol.topology",
    "thespis.protocol.config",
    "thespis.actors.entry",
    "thespis.actors.director.life",
    "thespis.actors.director.zygote",
    "thespis.actors.fetcher.actor",
    "thespis.actors.scheduler.actor",
    "thespis.actors.detokenizer.actor",
    "thespis.actors.preprocessor.actor",
    "thespis.frontends.client",
    "thespis.frontends.engine",
    "thespis.frontends.openai.main",
    "thespis.frontends.cli.main",
]


def modules() -> list[str]:
    """Every module of the package but the entry points and what needs torch, which takes seconds each."""
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
        [sys.executable, "-P", "-c", code, *arguments], capture_output=True, text=True, timeout=60, env=environment
    )


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_module_imports_nothing_heavy(module: str) -> None:
    code = "import importlib, sys; importlib.import_module(sys.argv[1]); print(*[m for m in sys.argv[2:] if m in sys.modules])"
    result = run(code, module, *HEAVY)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [], f"{module} imports them"


def test_the_package_gives_its_faces_lazily() -> None:
    assert run("import thespis, sys; print([m for m in sys.modules if m.startswith('thespis.')])").stdout == "[]\n"
    everything = run("from thespis import *; import thespis; print(all(name in dir(thespis) for name in thespis.__all__))")
    assert (everything.stdout, everything.returncode) == ("True\n", 0), everything.stderr
    assert run("import thespis; print(thespis.__version__)").stdout == f"{version('thespis')}\n"
    refused = run("import thespis; thespis.Nothing")
    assert "module 'thespis' has no attribute 'Nothing'" in refused.stderr


@pytest.mark.timeout(120)
def test_every_module_can_be_imported_alone() -> None:
    """In one process that forgets all of ours between two imports, so that a circle shows whichever end is taken first."""
    code = """
import importlib, sys
for name in sys.argv[1:]:
    for known in [m for m in sys.modules if m.split(".")[0] == "thespis"]:
        del sys.modules[known]
    try:
        importlib.import_module(name)
    except ImportError as error:
        print(name, error)
"""
    alone = [name for name in modules() if "gpu_runner" not in name and "encoder_cache" not in name]
    result = run(code, *alone)
    assert (result.stdout, result.returncode) == ("", 0), result.stderr
