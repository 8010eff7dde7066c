"""What a caller says about the frames it sends (`CLIP_FACTS`). Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...protocol.errors import invalid
from ...protocol.requests.request import CLIP_FACTS

MOST_FRAMES = 1 << 40
"""Numbers from here on cannot count frames, and soon would not fit into a message."""


def read_facts(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Those that are given, checked, as fields of `Frames` and `FrameList`. Raises RequestError."""
    facts: dict[str, Any] = {}
    for name in CLIP_FACTS:
        if (value := given.get(name)) is None:
            continue
        fine, wanted, make = _KINDS.get(name, _INDICES)
        value = value.tolist() if hasattr(value, "tolist") else value
        if not fine(value):
            raise invalid(f"{name} must be {wanted}.", where)
        facts[name] = make(value)
    return facts


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(map(_whole, value))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST_FRAMES


_KINDS: dict[str, tuple[Callable[[Any], bool], str, Callable[[Any], Any]]] = {
    "fps": (_positive, "a positive number", float),
    "duration": (_positive, "a positive number", float),
    "total_num_frames": (lambda n: _whole(n) and n > 0, "a positive whole number", int),
    "do_sample_frames": (lambda switch: isinstance(switch, bool), "true or false", bool),
}
_INDICES = (_whole_numbers, "a list of whole numbers", tuple)
