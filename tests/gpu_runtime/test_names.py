"""A public name of this floor means one thing, so that a search for it finds what is meant."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import thespis.gpu_runtime

ROOT = Path(thespis.gpu_runtime.__file__).parent


def _public(module: ast.Module) -> Iterator[str]:
    """Classes, functions and aliases of types; constants are read beside their module's name."""
    for node in module.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name[:1].isupper() and not name.isupper():
                yield name


def test_no_two_public_classes_functions_or_aliases_have_one_name() -> None:
    where: dict[str, list[str]] = defaultdict(list)
    for path in ROOT.rglob("*.py"):
        for name in _public(ast.parse(path.read_text())):
            if not name.startswith("_"):
                where[name].append(str(path.relative_to(ROOT)))
    assert {name: files for name, files in where.items() if len(files) > 1} == {}
