"""Ready-made embeddings: the run of an item whose encoder's work was done elsewhere."""

from math import prod
from typing import Any

import numpy as np
from PIL import Image

from ...protocol.errors import refuse
from ...protocol.requests.request import Modality
from .calls import small, sub_processor
from .types import Clip, Options

Grid = tuple[int, int, int]
"""(t, h, w) in patches, before merging."""

LONG_SECONDS = 31
"""Of a sound that is longer than the piece in which any tower takes sounds."""
USUAL_RATE = 2.0
"""Frames a second of a clip of which nobody says it."""


def has_grid(processor: Any, modality: Modality) -> bool:
    """Whether a run's positions depend on the shape of what the tower saw."""
    part = sub_processor(processor, modality)
    return any(name == f"{modality}_grid_thw" for name in getattr(part, "model_input_names", ()))


def check_grid(processor: Any, modality: Modality, grid: Grid | None, rows: int) -> None:
    """Raises RequestError for a grid that is missing, that the tower never makes, or that has more
    than `rows` rows."""
    text = _wrong(processor, modality, grid, rows)
    if text:
        raise refuse("invalid_request", text)


def _wrong(processor: Any, modality: Modality, grid: Grid | None, rows: int) -> str:
    """Of a grid; "": nothing is. Looked at before anything of its size is made."""
    if not has_grid(processor, modality):
        text = f"Embeddings of {modality} items have no grid with this model; leave it out."
        return "" if grid is None else text
    if grid is None:
        return f"Embeddings of {modality} items need their grid (t, h, w)."
    got = f"got {list(grid)}."
    if min(grid) < 1:
        return f"A grid must be three positive numbers (t, h, w), {got}"
    merge = int(sub_processor(processor, modality).merge_size)
    if grid[1] % merge or grid[2] % merge:
        return f"The height and width of a grid (t, h, w) must be multiples of {merge}, {got}"
    expected = prod(grid) // merge**2
    return f"Embeddings must have {expected} rows, got {rows}." if expected > rows else ""


def blank(
    processor: Any, modality: Modality, grid: Grid | None, options: Options
) -> tuple[Any, Options]:
    """(media without content whose run is that of `grid`, options with which it is not resized)."""
    part = sub_processor(processor, modality)
    if grid is None:
        return small(modality, int(getattr(part, "sampling_rate", 0))), {}
    patch = int(part.patch_size)
    height, width = grid[1] * patch, grid[2] * patch
    if modality == "image":
        return Image.new("RGB", (width, height)), {"do_resize": False}
    frames = np.zeros((grid[0] * int(part.temporal_patch_size), height, width, 3), np.uint8)
    return Clip(frames, float(options.get("fps") or USUAL_RATE)), {"do_resize": False}


def unlike(modality: Modality, rate: int) -> Any:
    """Media without content, of another shape and length than `blank` makes without a grid."""
    match modality:
        case "audio":
            return np.zeros(LONG_SECONDS * rate, np.float32)
        case "video":
            return Clip(np.zeros((8, 64, 64, 3), np.uint8), 8.0)
        case _:
            return Image.new("RGB", (640, 64))
