"""Whether items one by one are what transformers makes of whole conversations: every family, at
many sizes.

    scripts/dev processors [FAMILY ...]

One line a family and modality: conversations that were equal in token ids, features and positions,
and what differed first. Families whose processor needs a package that is not installed are named.
Exits with 1 where anything differs.
"""

import argparse
import logging
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from thespis.gpu_runtime.processing import Processor, load
from thespis.protocol.errors import EngineError
from thespis.protocol.requests.request import Modality
from thespis.tests.gpu_runtime.processing.conversations import (
    Oracle,
    check_conversation,
    clip,
    picture,
    sound,
)
from thespis.tests.gpu_runtime.processing.families import FAMILIES, write
from thespis.tests.gpu_runtime.processing.test_items import ONE_ONLY

SIZES = (
    (224, 224), (97, 131), (333, 211), (640, 480), (50, 400), (400, 50), (64, 64), (1023, 767),
    (28, 29), (300, 1200),
    (448, 448), (853, 1280), (199, 200), (511, 513),
)  # fmt: skip
"""(height, width)."""
CLIPS = ((4, 112, 112), (4, 97, 150), (7, 97, 150), (7, 224, 168), (16, 224, 168), (16, 64, 64))
"""(frames, height, width)."""
SOUNDS = (16000, 41234, 5003, 16000 * 33)
"""Samples."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/dev processors", description=__doc__)
    parser.add_argument(
        "families",
        nargs="*",
        metavar="FAMILY",
        choices=[[], *FAMILIES],
        help="all, if none is named",
    )
    return compare(parser.parse_args().families)


def compare(names: Sequence[str]) -> int:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    failures = 0
    for name in names or sorted(FAMILIES):
        with tempfile.TemporaryDirectory() as folder:
            try:
                write(name, Path(folder))
                ours, oracle = load(folder), Oracle(Path(folder))
            except (ImportError, EngineError) as error:
                print(f"{name:16} not run: {error}", flush=True)
                continue
            for modality in ours.placeholders():
                equal, count, why = check(name, ours, oracle, modality)
                failures += count - equal
                print(f"{name:16} {modality:6} {equal:3} of {count:3} {why}", flush=True)
    return int(failures > 0)


def check(name: str, ours: Processor, oracle: Oracle, modality: Modality) -> tuple[int, int, str]:
    """(equal, all, where the first difference showed)."""
    equal, count, why = 0, 0, ""
    for media in prompts(name, modality):
        count += 1
        try:
            check_conversation(ours, oracle, modality, media)
            equal += 1
        except Exception as error:  # also what transformers raises of a batch
            line = traceback.extract_tb(error.__traceback__)[-1]
            why = why or f"{type(error).__name__} {str(error)[:80]} at {line.name}:{line.lineno}"
    return equal, count, why


def prompts(name: str, modality: Modality) -> Iterator[tuple[Any, ...]]:
    """Each item alone, and each beside the next; clips beside those that are as long."""
    made: list[Any]
    match modality:
        case "image":
            made = [picture(*size) for size in SIZES]
        case "video":
            made = [clip(*size) for size in CLIPS]
        case _:
            made = [sound(length) for length in SOUNDS]
    yield from ((one,) for one in made)
    if (name, modality) in ONE_ONLY:
        return
    for pair in pairwise(made):
        if modality != "video" or len(pair[0].frames) == len(pair[1].frames):
            yield pair


if __name__ == "__main__":
    sys.exit(main())
