"""`scripts/dev models-table`: asks every checkpoint of the zoo everything, and writes
docs/models.md. Begins where it ended."""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import torch

from thespis.tests.zoo.catalog import NAMES, animal, build

ROOT = Path(__file__).parents[2]
KEPT: list[Any] = []
"""Of torch's libraries: what one defines goes with it."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/dev models-table", description=__doc__)
    parser.add_argument(
        "--types",
        nargs="+",
        metavar="NAME",
        choices=NAMES,
        default=None,
        help="these alone, and again",
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs" / "models.md", help="the page (docs/models.md)"
    )
    parser.add_argument(
        "--budget-seconds", type=float, default=None, help="begin no row after so many seconds"
    )
    parser.add_argument(
        "--libraries",
        type=Path,
        default=None,
        help="folder with torchvision, for the oracle's clips",
    )
    given = parser.parse_args()
    if given.libraries is not None:
        lend(given.libraries)
    return run(given.types, given.out, given.budget_seconds)


def lend(folder: Path) -> None:
    """Let the oracle's transformers find torchvision, which beside a torch for CPUs lacks the
    schema of two operators."""
    sys.path.append(str(folder))
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    KEPT.append(library)


def run(types: list[str] | None, out: Path, budget: float | None) -> int:
    import transformers

    from thespis.tests.zoo.reference import Reference

    from .page import page
    from .row import EQUAL, NOT_ASKED, Table, make_row

    transformers.logging.set_verbosity_error()
    kept = out.with_suffix(".json")
    table = msgspec.json.decode(kept.read_bytes(), type=Table) if kept.exists() else None
    if table is None or table.transformers != transformers.__version__:
        table = Table(transformers.__version__, str(torch.__version__))
    rows = {row.name: row for row in table.rows}
    began = time.monotonic()
    for name in types or [name for name in NAMES if name not in rows]:
        if budget is not None and time.monotonic() - began > budget:
            break
        with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
            place = build(name, Path(folder) / name)
            twin = animal(name).twin
            oracle = build(twin, Path(folder) / "twin") if twin else place
            row = make_row(name, place, Reference(animal(twin or name), oracle))
            row.reason = row.reason.replace(str(place), name)
        rows[name] = row
        bad = {column: text for column, text in row.cells.items() if text not in (EQUAL, NOT_ASKED)}
        print(
            f"{name:20} {row.seconds:6.1f} s {row.distance:.0e} {row.reason or bad or 'equal'}",
            flush=True,
        )
        table.rows = sorted(rows.values(), key=lambda row: row.name)
        kept.write_bytes(msgspec.json.format(msgspec.json.encode(table), indent=1))
    out.write_text(page(table))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
