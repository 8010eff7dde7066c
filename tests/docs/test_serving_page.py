"""What docs/serving.md says of flags, paths and codes is what the code says."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from thespis.frontends.openai.app import BODIES, FORMS, MORE, QUESTIONS
from thespis.frontends.openai.gate.auth import OPEN_PATHS, WATCHED_PATHS
from thespis.frontends.openai.live.handler import EVENTS
from thespis.protocol.chat_templates.source import built_in_names
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.errors import STATUS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/serving.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Of the first table after a heading: its cells, row by row."""
    after = PAGE[PAGE.index(heading) :]
    table = re.search(r"^\|.*\n\| ---.*\n((?:\|.*\n)+)", after, re.MULTILINE)
    assert table is not None
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1].splitlines()
    ]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_flags_have_these_defaults() -> None:
    known = {
        field.name: field
        for schema in (EngineConfig, ServerConfig)
        for field in msgspec.structs.fields(schema)
    }
    for flag, default, _ in rows("# Serving"):
        field = known[names(flag)[0].removeprefix("--").replace("-", "_")]
        if field.default not in (None, "", (), msgspec.NODEFAULT):
            value = str(field.default)
            assert default == {"True": "on", "False": "off"}.get(value, value)


def test_the_paths_are_those_of_the_app() -> None:
    built = {f"POST {path}" for path in (*BODIES, *FORMS)} | {f"GET {path}" for path in QUESTIONS}
    built |= {f"{method} {path}" for method, path, _ in MORE}
    told = {path for cell, _ in rows("## Paths") for path in names(cell)}
    told -= {"GET /", f"GET {EVENTS}"}  # of pages, which can be switched off
    assert told == {re.sub(r"{(\w+):[^}]*}", r"{\1}", path) for path in built}
    open_paths = {
        path.split()[1]
        for cell, text in rows("## Paths")
        if "needs no key" in text
        for path in names(cell)
    }
    assert open_paths - {"/"} == OPEN_PATHS | WATCHED_PATHS


OF_ONE_KIND = ("invalid", "too_large", "undecodable")
CODE_PLACES = {
    "refuse": 3,
    "Failure": 3,
    "FetchError": 3,
    "refusal": 1,
    **dict.fromkeys(OF_ONE_KIND, 2),
}
"""By what makes a failure: which of its arguments is the code."""


def codes_in(file: Path) -> Iterator[str]:
    """Literal codes of the failures that a file makes."""
    tree = ast.parse(file.read_text())
    constants = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and (place := CODE_PLACES.get(node.func.id)) is not None
        ):
            given = [
                *node.args[place : place + 1],
                *(keyword.value for keyword in node.keywords if keyword.arg == "code"),
            ]
            for value in given:
                if isinstance(value, ast.Constant) and value.value is not None:
                    yield str(value.value)
                elif isinstance(value, ast.Name) and value.id in constants:
                    yield str(constants[value.id])


def test_every_code_is_told_and_no_other() -> None:
    told = [code for cell, *_ in rows("## Errors") for code in names(cell)]
    assert len(told) == len(set(told))
    files = [
        file
        for floor in ("protocol", "actors", "frontends")
        for file in (ROOT / floor).rglob("*.py")
    ]
    made = {code for file in files for code in codes_in(file)} | set(STATUS)
    assert set(told) == made


def test_the_statuses_of_the_kinds_are_right() -> None:
    for cell, statuses, _ in rows("## Errors"):
        for code in names(cell):
            if code in STATUS:
                assert str(STATUS[code]) in statuses.split(", ")


def test_the_built_in_templates_are_named() -> None:
    section = PAGE[PAGE.index("## Chat templates") :]
    assert all(f"`{name}`" in section for name in built_in_names())
