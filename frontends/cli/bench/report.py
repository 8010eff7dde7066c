"""Figures as a table, as JSON, and as bars; and how far a measurement has come."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from ....protocol.errors import EngineError
from ...start_bar import watched


class Cell(NamedTuple):
    """One figure."""

    name: str
    value: float
    unit: str
    """`tokens/s`, `pictures/s`: more is better; `ms`, `s`, `MB`: less is better."""

    @property
    def more_is_better(self) -> bool:
        return self.unit.endswith("/s")


def quantile(values: Sequence[float], q: float) -> float:
    """The nearest-rank quantile; 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def milliseconds(seconds: Sequence[float], q: float) -> float:
    """The quantile of seconds, in milliseconds."""
    return round(quantile(seconds, q) * 1000, 3)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column to the left, figures to the right."""
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def show(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cells_table(cells: Iterable[Cell]) -> str:
    return table(
        ("", "figure", "unit"), ((cell.name, show(cell.value), cell.unit) for cell in cells)
    )


def print_cells(given: argparse.Namespace, cells: Sequence[Cell], whole: dict[str, Any]) -> None:
    """`whole` is the JSON; the cells are the table and the plot."""
    print(json.dumps(whole, indent=2) if given.json else cells_table(cells), flush=True)
    if given.plot:
        plot(Path(given.plot), {"": cells})


@contextmanager
def progress(total: int, what: str) -> Iterator["tqdm[Any]"]:
    """On stderr, and only where somebody watches; `update()` after each step."""
    with tqdm(total=total, desc=what, file=sys.stderr, leave=False, disable=not watched()) as bar:
        yield bar


def plot(path: Path, sides: dict[str, Sequence[Cell]]) -> None:
    """Horizontal bars, a panel for each unit; the cells of several sides stand together under their
    common name.

    Raises EngineError where matplotlib is not installed or cannot write such a file.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise EngineError("--plot needs matplotlib: pip install 'thespis[plot]'") from None
    units = list(dict.fromkeys(cell.unit for cells in sides.values() for cell in cells))
    rows = [sum(cell.unit == unit for cell in next(iter(sides.values()))) for unit in units]
    figure = Figure(
        figsize=(8, 1 + 0.3 * len(sides) * sum(rows) + 0.5 * len(units)), layout="constrained"
    )
    panels = figure.subplots(len(units), squeeze=False, height_ratios=rows)[:, 0]
    for unit, panel in zip(units, panels, strict=True):
        for number, (side, cells) in enumerate(sides.items()):
            own = [cell for cell in cells if cell.unit == unit]
            heights = [place + 0.8 * number / len(sides) for place in range(len(own))]
            bars = panel.barh(
                heights, [cell.value for cell in own], height=0.8 / len(sides), label=side or None
            )
            panel.bar_label(bars, [show(cell.value) for cell in own], padding=3, fontsize=8)
            middle = 0.4 - 0.4 / len(sides)
            panel.set_yticks(
                [place + middle for place in range(len(own))],
                [cell.name for cell in own],
                fontsize=8,
            )
        panel.invert_yaxis()
        panel.margins(x=0.15)
        panel.set_title(unit, fontsize=9, loc="left")
    if len(sides) > 1:
        panels[0].legend(fontsize=8)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise EngineError(f"The plot cannot be written to {str(path)!r}: {error}") from None
