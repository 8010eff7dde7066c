"""`thespis models`: what is in the cache of models, and what of it can run here."""

import argparse
import json
import time
from collections.abc import Sequence

from ..hub.cache import cache_folder
from ..hub.held import HeldModel, held_models
from ..hub.words import size

HEAD = ("MODEL", "REVISION", "SIZE", "LAST USED", "RUNS HERE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--download-dir", metavar="TEXT", help="cache folder (default: HF_HUB_CACHE, else HF_HOME/hub)")
    parser.add_argument("--json", action="store_true", help="one JSON object per model and line, with folder and commit")
    parser.epilog = "fetch one with `thespis pull ORG/NAME`; remove one with `hf cache rm model/ORG/NAME`"


def run(given: argparse.Namespace) -> int:
    root = cache_folder(given.download_dir)
    models = held_models(root)
    if given.json:
        for model in models:
            print(json.dumps(model._asdict(), default=str))
    elif models:
        print("\n".join(_table([HEAD, *map(_row, models)])))
    else:
        print(f"no models in {root}: fetch one with `thespis pull ORG/NAME`")
    return 0


def _row(model: HeldModel) -> tuple[str, ...]:
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(model.last_used))
    revision = " ".join((*model.revisions, model.commit[:12]))
    return model.name, revision, size(model.bytes), used, "yes" if model.why_not is None else f"no: {model.why_not}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    *widths, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    return ["  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1])) for row in rows]
