"""Ray is an extra: who needs it and has it not is told in one sentence what to install, and no
module of ours needs it to be imported."""

import ast
from pathlib import Path

import pytest

import thespis
from thespis.frontends.ray import installed
from thespis.frontends.ray.installed import check_installed
from thespis.protocol.errors import EngineError

ROOT = Path(thespis.__file__).parent


def test_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    with pytest.raises(EngineError) as caught:
        check_installed("--replicas")
    assert str(caught.value) == "--replicas needs Ray: pip install 'thespis[ray]'."


def test_nothing_is_said_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find_spec", lambda name: object())
    check_installed("--replicas")


def test_no_module_imports_ray_when_it_is_imported() -> None:
    """But those that Ray itself imports, in its own processes."""
    at_once = set()
    for file in (ROOT / "frontends").rglob("*.py"):
        for node in ast.parse(file.read_text()).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            if any(name.partition(".")[0] == "ray" for name in names):
                at_once.add(str(file.relative_to(ROOT)))
    assert at_once == set()
