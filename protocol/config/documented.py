"""What stands beneath the fields of a Struct, for --help and the docs: Python itself forgets it."""

import ast
import inspect
from itertools import pairwise
from pathlib import Path

import msgspec


def field_docs(schema: type[msgspec.Struct]) -> dict[str, str]:
    """By field, each text in one line; a field without one is left out."""
    tree = ast.parse(Path(inspect.getfile(schema)).read_text())
    (body,) = (
        node.body
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == schema.__name__
    )
    found = {}
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                found[name] = " ".join(text.split())
    return found
