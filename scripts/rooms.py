"""The rooms of every floor, by imports: `scripts/dev rooms [ROOT]`, ROOT being another checkout of
the package.

A room is a folder of a floor, or a loose file there. Its level is one more than that of the highest
room that it imports; an arrow stands for all imports of one room by another. Nothing is imported or
run.
"""

import argparse
import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("protocol", "gpu_runtime", "actors", "frontends")


@dataclass(frozen=True)
class Plan:
    """The rooms of one folder."""

    lines: dict[str, int]
    """Of Python, by room."""
    arrows: dict[str, set[str]]
    """By room, the others that it imports."""

    def levels(self) -> dict[str, int]:
        """By room, lowest first, from 1 on. Raises graphlib.CycleError where rooms import each
        other in a circle."""
        found: dict[str, int] = {}
        for room in TopologicalSorter(self.arrows).static_order():
            found[room] = 1 + max((found[below] for below in self.arrows[room]), default=0)
        return dict(sorted(found.items(), key=lambda each: (each[1], each[0])))

    @property
    def size(self) -> str:
        arrows = sum(map(len, self.arrows.values()))
        return (
            f"{len(self.arrows)} rooms, {max(self.levels().values())} levels, {arrows} arrows, "
            f"{sum(self.lines.values())} lines"
        )


def read(folder: Path, root: Path = ROOT) -> Plan:
    """The plan of `folder`, which is a floor of the package at `root` or a room with rooms of its
    own."""
    place = folder.relative_to(root).parts
    files = [
        file
        for file in folder.rglob("*.py")
        if file.parent != folder or file.stem not in ("__init__", "__main__")
    ]
    lines: dict[str, int] = {}
    arrows: dict[str, set[str]] = {}
    for file in files:
        text = file.read_text()
        room = _room(file.relative_to(root).with_suffix("").parts, place)
        lines[room] = lines.get(room, 0) + text.count("\n")
        arrows.setdefault(room, set()).update(
            other
            for name in _imported(text, file.relative_to(root))
            if (other := _room(name, place)) and other != room
        )
    return Plan(lines, {room: below & arrows.keys() for room, below in arrows.items()})


def with_rooms(root: Path = ROOT) -> list[Path]:
    """The floors, and every folder below that has folders of its own."""
    folders = {init.parent for floor in FLOORS for init in (root / floor).rglob("__init__.py")}
    return sorted(
        {folder.parent for folder in folders if folder.parent != root}
        | {root / floor for floor in FLOORS}
    )


def _room(name: tuple[str, ...], place: tuple[str, ...]) -> str:
    """ "": `name` lies elsewhere."""
    return name[len(place)] if len(name) > len(place) and name[: len(place)] == place else ""


@cache
def _imported(text: str, file: Path) -> tuple[tuple[str, ...], ...]:
    """What of the package a file imports, lazily or not: modules, and names of modules. A file is
    read for each folder that it lies in."""
    return tuple(_imports(text, file))


def _imports(text: str, file: Path) -> Iterator[tuple[str, ...]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (
                tuple(alias.name.split(".")[1:])
                for alias in node.names
                if alias.name.startswith("thespis.")
            )
        elif isinstance(node, ast.ImportFrom):
            base = tuple((node.module or "").split(".")) if node.module else ()
            if node.level:
                base = (*file.parts[: len(file.parts) - node.level], *base)
            elif base[0] != "thespis":
                continue
            else:
                base = base[1:]
            yield from ((*base, alias.name) for alias in node.names)


def main(root: Path) -> None:
    for folder in with_rooms(root):
        plan = read(folder, root)
        try:
            levels = plan.levels()
            height = f"{max(levels.values())} levels"
        except CycleError as error:
            levels = dict.fromkeys(sorted(plan.arrows), 0)
            height = f"a circle of {' -> '.join(error.args[1])}"
        arrows, lines = sum(map(len, plan.arrows.values())), sum(plan.lines.values())
        print(
            f"\n{folder.relative_to(root)}/: {len(levels)} rooms, {height}, {arrows} arrows, "
            f"{lines} lines"
        )
        for room, level in levels.items():
            print(
                f"  {level}  {room:20} {plan.lines[room]:6}  {' '.join(sorted(plan.arrows[room]))}"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="scripts/dev rooms", description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=ROOT, help="default: this checkout")
    main(parser.parse_args().root.resolve())
