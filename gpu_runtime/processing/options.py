"""Options of one item that a caller may set: which the checkpoint's processor has, and how it takes
them."""

from typing import Any

from ...protocol.errors import refuse
from ...protocol.requests.request import Modality
from .calls import NESTED, sub_processor, takes
from .types import Options

BOUNDS = {"min_pixels": "shortest_edge", "max_pixels": "longest_edge"}
"""Of a picture's or frame's area, and what a processor's `size` calls them, though they are no
edges."""
_KNOWN: dict[Modality, set[str]] = {
    "image": {
        "min_patches", "max_patches", "max_slice_nums", "min_image_tokens", "max_image_tokens",
        "max_soft_tokens", "max_crops", "num_crops", "dynamic_hd",
    },
    "video": {
        "fps", "num_frames", "min_frames", "max_frames", "max_soft_tokens", "max_slice_nums",
    },
    "audio": set(),
}  # fmt: skip
"""Those that change what an item costs or shows; what a model was trained with is no caller's
choice."""
SAMPLING = frozenset({"fps", "num_frames", "do_sample_frames", "min_frames", "max_frames"})
"""Options of which frames are looked at, of which there are no more than the clip has."""
MORE = 4
"""Times as many pieces or tokens as the checkpoint says a caller may ask for: some classes go
through all ways to cut a picture into so many."""
FEW = 64
"""Pieces or tokens that a caller may always ask for."""


def options_of(processor: Any, modality: Modality) -> frozenset[str]:
    part = sub_processor(processor, modality)
    if part is None:
        return frozenset()
    names = takes(part)
    names = names - set(BOUNDS) if bounds_of(processor, modality) is None else names | set(BOUNDS)
    own = {"do_sample_frames"} if modality == "video" else set()
    return frozenset(names & {*BOUNDS, *_KNOWN[modality]} | own)


def size_of(processor: Any, modality: Modality) -> dict[str, int] | None:
    """{"shortest_edge": pixels, "longest_edge": pixels} that the processor uses where nobody says
    otherwise; None: it takes no bounds of an area."""
    part = sub_processor(processor, modality)
    return _edges(processor, modality, part) if "min_pixels" in takes(part) else None


def bounds_of(processor: Any, modality: Modality) -> dict[str, int] | None:
    """As `size_of`, of one picture or frame, also where a class bounds all frames together: then
    one alone may have all."""
    volume = _volume_of(processor, modality)
    return size_of(processor, modality) if volume is None else {**volume, "shortest_edge": 1}


def _volume_of(processor: Any, modality: Modality) -> dict[str, int] | None:
    """As `size_of`, of a class that bounds the pixels of all frames of a clip together; None: it
    does not."""
    part = sub_processor(processor, modality)
    if modality != "video" or not hasattr(part, "temporal_patch_size"):
        return None
    return None if "min_pixels" in takes(part) else _edges(processor, modality, part)


def _edges(processor: Any, modality: Modality, part: Any) -> dict[str, int] | None:
    size = getattr(processor, NESTED[modality], {}).get("size") or part.size
    found = {name: value_of(size, name) for name in BOUNDS.values()}
    return found if all(isinstance(value, int) for value in found.values()) else None


def as_called(processor: Any, modality: Modality, options: Options, frames: int = 1) -> Options:
    """`options` as the processor's call takes them, for a clip of `frames`. Raises RequestError for
    bounds that contradict each other, and for a number of pieces beyond all measure."""
    others = options.keys() - BOUNDS.keys() - {"do_sample_frames"}
    called = {name: value for name, value in options.items() if name in others}
    for name in called.keys() - SAMPLING:
        own = getattr(sub_processor(processor, modality), name, None)
        most = max(FEW, MORE * own if isinstance(own, int) else 0)
        if called[name] > most:
            text = f"{name} must be at most {most} with this model."
            raise refuse("invalid_request", text, "mm_processor_kwargs")
    bounds, volume = bounds_of(processor, modality), _volume_of(processor, modality)
    given = {name: options[name] for name in BOUNDS if options.get(name) is not None}
    asked = {BOUNDS[name]: int(value) for name, value in given.items()}
    if bounds is None or not asked:
        return called
    size = bounds | asked
    if size["shortest_edge"] > size["longest_edge"]:
        text = f"min_pixels={size['shortest_edge']} is more than max_pixels={size['longest_edge']}."
        raise refuse("invalid_request", text, "mm_processor_kwargs")
    if volume is not None:
        most = min(volume["longest_edge"], frames * size["longest_edge"])
        least = volume["shortest_edge"]
        if "shortest_edge" in asked:
            least = frames * asked["shortest_edge"]
        size = {"shortest_edge": min(least, most), "longest_edge": most}
    return {**called, "size": size}


def value_of(size: Any, name: str) -> Any:
    return size.get(name) if isinstance(size, dict) else getattr(size, name, None)
