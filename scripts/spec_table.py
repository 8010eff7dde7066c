"""The table statement -> tests: `scripts/dev spec [S16 ...]`. A statement is shown by tests named
`test_S16_...`; `test_S16_S17_...` shows both.

Those that drive real processes (marked `process`) count; others are listed beside them. Nothing is
imported or run.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SECTIONS: dict[str, Sequence[int]] = {
    "A. Media URLs": range(1, 11),
    "B. Offline generate": range(11, 16),
    "C. Ids of media": range(16, 22),
    "D. Offline chat": range(22, 25),
    "E. Transparency": range(25, 28),
    "F. Video": range(28, 34),
    "G. Audio": range(34, 36),
    "H. Embeddings": range(36, 41),
    "I. Online serving": range(41, 58),
    "L. The next": (60, 63, 65, 66, 68, 69, 70, 71, 72, 73, 74, 81, 82),
}
STATEMENTS = tuple(sorted(number for numbers in SECTIONS.values() for number in numbers))
_NAME = re.compile(r"test_((?:S\d+_)+)")


class Shown(NamedTuple):
    """One test."""

    statement: int
    place: str
    """As pytest takes it: tests/spec/test_C_ids.py::test_S16_..."""
    real: bool
    """It is marked `process`: real actors, a public face."""


def shown_in(source: str, place: str) -> Iterator[Shown]:
    """The tests of one file that are named after a statement."""
    tree = ast.parse(source)
    marks = [
        node for node in tree.body if isinstance(node, ast.Assign) and _names(node, "pytestmark")
    ]
    whole = any("pytest.mark.process" in ast.unparse(mark.value) for mark in marks)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
            found := _NAME.match(node.name)
        ):
            alone = any(
                "pytest.mark.process" in ast.unparse(decorator) for decorator in node.decorator_list
            )
            for number in re.findall(r"\d+", found[1]):
                yield Shown(int(number), f"{place}::{node.name}", whole or alone)


def _names(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def all_tests(root: Path = ROOT) -> dict[int, list[Shown]]:
    table: dict[int, list[Shown]] = {statement: [] for statement in STATEMENTS}
    for file in sorted((root / "tests").rglob("test_*.py")):
        for shown in shown_in(file.read_text(), str(file.relative_to(root))):
            table.setdefault(shown.statement, []).append(shown)
    return table


def missing(table: dict[int, list[Shown]]) -> list[int]:
    """Statements that nothing shows on real processes."""
    return [
        statement for statement in STATEMENTS if not any(shown.real for shown in table[statement])
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/dev spec", description=__doc__)
    parser.add_argument("statement", nargs="*", help="only these: S16 S21; default: all")
    parser.add_argument("--short", action="store_true", help="how many tests each has, not which")
    arguments = parser.parse_args()
    wanted = {int(name.lstrip("Ss")) for name in arguments.statement} or set(STATEMENTS)
    table = all_tests()
    for title, numbers in SECTIONS.items():
        if wanted.isdisjoint(numbers):
            continue
        print(f"\n{title}")
        for statement in sorted(wanted & set(numbers)):
            real = [shown for shown in table[statement] if shown.real]
            parts = [shown for shown in table[statement] if not shown.real]
            print(
                f"  S{statement}: {len(real)} on real processes, {len(parts)} of "
                f"parts{'' if real else '   MISSING'}"
            )
            for shown in () if arguments.short else (*real, *parts):
                print(f"      {'' if shown.real else '(part) '}{shown.place}")
    strangers = sorted(set(table) - set(STATEMENTS))
    gaps = [statement for statement in missing(table) if statement in wanted]
    if strangers:
        print(
            f"\nTests are named after statements that there are not: "
            f"{', '.join(f'S{s}' for s in strangers)}"
        )
    if gaps:
        print(f"\nNo test on real processes: {', '.join(f'S{gap}' for gap in gaps)}")
    return 1 if gaps or strangers else 0


if __name__ == "__main__":
    sys.exit(main())
