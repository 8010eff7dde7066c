"""How long an item's run will be, known before its pixels are made: what no context can hold is
refused before the work."""

from typing import Any

from ...protocol.requests.request import Modality
from .calls import NESTED, sub_processor
from .options import BOUNDS
from .types import Options

_ARGUMENT = {"image": "image_sizes", "video": "video_sizes", "audio": "audio_lengths"}

Extent = tuple[int, int] | tuple[int, int, int] | int
"""(height, width) of a picture; (frames, height, width) of a clip; samples of a sound."""


def preview(processor: Any, modality: Modality, extent: Extent, options: Options) -> int | None:
    """What the class says that an item costs: its rows, or all tokens of its run. None: it says
    nothing."""
    count = getattr(processor, "_get_num_multimodal_tokens", None)
    if count is None:
        return _fewest(sub_processor(processor, modality), options)
    extents = [list(extent)] if isinstance(extent, tuple) else [extent]
    size = options.get("size", {})
    # Some classes read one form, some the other.
    bounds = {name: size[edge] for name, edge in BOUNDS.items() if edge in size}
    asked = {_ARGUMENT[modality]: extents, NESTED[modality]: {**options, **bounds}}
    try:
        made = count(**asked)
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError):
        return None  # the class's own: of what it has no rule for
    found = getattr(made, f"num_{modality}_tokens", None)
    return int(found[0]) if found else None


def _fewest(part: Any, options: Options) -> int | None:
    """Rows of the smallest area that a caller asks for, of a class that says nothing."""
    patch, merge = getattr(part, "patch_size", None), getattr(part, "merge_size", None)
    least = options.get("size", {}).get("shortest_edge")
    if least is None or not isinstance(patch, int) or not isinstance(merge, int):
        return None
    return int(least) // (patch * merge) ** 2
