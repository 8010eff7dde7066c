"""What the package's own files say, for the tests of its plan: each is parsed and walked once a
session, and the tree is let go of."""

import ast
import gc
from functools import cache
from pathlib import Path
from typing import NamedTuple

import thespis

ROOT = Path(thespis.__file__).parent
FLOORS = ("protocol", "gpu_runtime", "actors", "frontends")
"""The lowest first."""
FILES = sorted(path.relative_to(ROOT) for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
"""Of all floors, from the root on."""


class Source(NamedTuple):
    imports: frozenset[tuple[str, ...]]
    """Every module that it names in an import, lazy ones included; ours as (floor, ...), others as
    ("", package, ...)."""
    texts: frozenset[str]
    """Constants; so are the docs."""
    attributes: frozenset[tuple[str, str]]
    """What is read or written of what: ("time", "monotonic"); "" for what is no plain name."""
    functions: tuple[tuple[str, int], ...]
    """Their names and lines."""
    names: frozenset[str]
    """Of the module itself: its classes, and what is assigned to one name."""
    lines: int


@cache
def source(file: Path) -> Source:
    """Of a file of the package, from the root on."""
    text = (ROOT / file).read_text()
    gc.disable()  # what is finalised meanwhile may run Python, which the parser of 3.11 takes ill
    try:
        tree = ast.parse(text)
    finally:
        gc.enable()
    nodes = list(ast.walk(tree))
    return Source(
        frozenset(name for node in nodes for name in _imports(node, file.parts[:-1])),
        frozenset(
            node.value
            for node in nodes
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ),
        frozenset(
            (node.value.id if isinstance(node.value, ast.Name) else "", node.attr)
            for node in nodes
            if isinstance(node, ast.Attribute)
        ),
        tuple(
            (node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
            for node in nodes
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ),
        frozenset(_named(node) for node in tree.body),
        text.count("\n"),
    )


def _imports(node: ast.AST, package: tuple[str, ...]) -> set[tuple[str, ...]]:
    if isinstance(node, ast.Import):
        names = [tuple(alias.name.split(".")) for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        base = tuple((node.module or "").split(".")) if node.module else ()
        if node.level:
            base = (*package[: len(package) - node.level + 1], *base)
            return {(*base, alias.name) for alias in node.names}
        names = [(*base, alias.name) for alias in node.names]
    else:
        return set()
    return {name[1:] if name[0] == "thespis" else ("", *name) for name in names}


def _named(node: ast.stmt) -> str:
    target = node.targets[0] if isinstance(node, ast.Assign) else None
    return (
        node.name
        if isinstance(node, ast.ClassDef)
        else target.id
        if isinstance(target, ast.Name)
        else "_"
    )
