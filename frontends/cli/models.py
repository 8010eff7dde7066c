"""`thespis models`: what is in the cache of models, and what of it can run here."""

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Sequence

from ..hub.cache import cache_folder
from ..hub.held import HeldModel, held_models, why_not
from ..hub.words import size
from .flags import add_cache

HEAD = ("MODEL", "REVISION", "SIZE", "LAST USED")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_cache(parser)
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object per model and line, with folder and commit",
    )
    parser.epilog = (
        "fetch one with `thespis pull ORG/NAME`; remove one with `hf cache rm model/ORG/NAME`"
    )


def run(given: argparse.Namespace) -> int:
    root = cache_folder(given.download_dir)
    models = held_models(root)
    if not models and not given.json:
        print(f"no models in {root}: fetch one with `thespis pull ORG/NAME`")
    for line in _objects(models) if given.json else _table(models):
        print(line, flush=True)  # the judgement of the next may take seconds
    return 0


def _objects(models: Iterable[HeldModel]) -> Iterator[str]:
    for model in models:
        yield json.dumps(
            {**model._asdict(), "folder": str(model.folder), "why_not": why_not(model.folder)}
        )


def _table(models: Sequence[HeldModel]) -> Iterator[str]:
    if not models:
        return
    rows = [HEAD, *map(_row, models)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    yield f"{texts[0]}  RUNS HERE"
    for model, text in zip(models, texts[1:], strict=True):
        reason = why_not(model.folder)
        yield f"{text}  {'yes' if reason is None else f'no: {reason}'}"


def _row(model: HeldModel) -> tuple[str, ...]:
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(model.last_used))
    return model.name, " ".join((*model.revisions, model.commit[:12])), size(model.bytes), used
