"""`thespis bench preprocess`: pictures per second through decoding and the model's processor, by
number of processes: in these processes alone, and through a whole engine."""

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

from ....protocol.checkpoint.folder import demo_model
from ....protocol.config.engine import EngineConfig
from ....protocol.errors import RequestError
from ....protocol.facts import ModelFacts
from ...hub.locate import located
from ..flags import add_model
from .asking import add_output_arguments, add_seed_argument, add_size_argument, picture_bytes
from .numbers import number, numbers
from .preparing import prepare
from .report import Cell, milliseconds, print_cells, progress

LINE = (
    "pictures to features, by decode workers: what these alone can do, and what an engine makes "
    "of it"
)


class Item(NamedTuple):
    """Seconds that one picture took."""

    decode: float
    features: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--workers",
        type=numbers,
        default="1,2",
        metavar="N,N",
        help="numbers of processes (default: %(default)s)",
    )
    parser.add_argument(
        "--pictures",
        type=number(1),
        default=64,
        metavar="N",
        help="for each number (default: %(default)s)",
    )
    add_size_argument(parser, 336)
    add_seed_argument(parser)
    add_output_arguments(parser)


def run(given: argparse.Namespace) -> int:
    cells: list[Cell] = []
    rows: list[dict[str, Any]] = []
    folder = located(EngineConfig(model=given.model)).model or str(demo_model())
    pictures = [
        picture_bytes(given.seed * 1_000_000 + n, given.size) for n in range(given.pictures)
    ]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        picture_rows = apart.submit(_rows, folder, given.size).result()
    for workers in given.workers:
        whole = prepare(folder, pictures, picture_rows, workers)
        items, seconds = measure(whole.model, pictures, workers)
        row: dict[str, Any] = {
            "workers": workers,
            "pictures_per_second": round(len(items) / seconds, 2),
            "decode_ms_p50": milliseconds([item.decode for item in items], 0.5),
            "features_ms_p50": milliseconds([item.features for item in items], 0.5),
        }
        row |= {
            "engine_pictures_per_second": round(len(pictures) / whole.seconds, 2),
            "engine_features": whole.features,
            "answers": len(whole.answers),
            "answer_ms_p50": milliseconds(whole.answers, 0.5),
            "answer_ms_p99_9": milliseconds(whole.answers, 0.999),
        }
        rows.append(row)
        cells += _cells(row)
    print_cells(given, cells, {"rows": rows})
    return 0


def _cells(row: dict[str, Any]) -> list[Cell]:
    name = f"{row['workers']} worker{'s' if row['workers'] > 1 else ''}"
    return [
        Cell(f"{name} alone", row["pictures_per_second"], "pictures/s"),
        Cell(f"{name} alone: decode p50", row["decode_ms_p50"], "ms"),
        Cell(f"{name} alone: features p50", row["features_ms_p50"], "ms"),
        Cell(f"{name} in an engine", row["engine_pictures_per_second"], "pictures/s"),
        Cell(f"{name} in an engine: another's answer p50", row["answer_ms_p50"], "ms"),
        Cell(f"{name} in an engine: another's answer p99.9", row["answer_ms_p99_9"], "ms"),
    ]


def measure(model: ModelFacts, pictures: list[bytes], workers: int) -> tuple[list[Item], float]:
    """Every process has its processor before the clock starts."""
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_prepare, initargs=(model,)
    ) as pool:
        list(pool.map(_item, pictures[:1] * workers))
        begin = time.perf_counter()
        with progress(len(pictures), f"{workers} processes") as bar:
            items = []
            for item in pool.map(_item, pictures):
                items.append(item)
                bar.update()
        return items, time.perf_counter() - begin


def _rows(folder: str, side: int) -> int:
    """Of a picture; 0 of one that the model does not take."""
    from PIL import Image

    from ....gpu_runtime.processing import load

    try:
        return load(folder).item("image", Image.new("RGB", (side, side)), {}).rows
    except RequestError:
        return 0


_state: list[Any] = []
"""Of a worker: the picture decoder's limits, and the processor."""


def _prepare(model: ModelFacts) -> None:
    import torch

    from ....gpu_runtime.processing import load
    from ....protocol.config.roles import MediaLimits

    torch.set_num_threads(1)  # as in a decode worker
    _state[:] = MediaLimits(), load(model.path, model.pixels)


def _item(data: bytes) -> Item:
    from ....actors.decode_worker.image import decode_image

    limits, processor = _state
    begin = time.perf_counter()
    picture = decode_image(data, limits)
    decoded = time.perf_counter()
    processor.item("image", picture, {})
    return Item(decoded - begin, time.perf_counter() - decoded)
