"""What a caller says about the frames it sends (`CLIP_FACTS`). Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...protocol.errors import invalid
from ...protocol.requests.request import CLIP_FACTS

MOST_FRAMES = 1 << 40
"""Numbers from here on cannot count frames, and soon would not fit into a message."""


def read_facts(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Those that are given, checked, as fields of `Frames` and `FrameList`. Raises RequestError."""
    facts: dict[str, Any] = {}
    for name in CLIP_FACTS:
        value = given.get(name)
        if value is None:
            continue
        match name:
            case "fps" | "duration":
                fine = (
                    isinstance(value, int | float)
                    and not isinstance(value, bool)
                    and 0 < value < 1e6
                )
                facts[name], wanted = value, "a positive number"
            case "total_num_frames":
                fine = _whole(value) and value > 0
                facts[name], wanted = value, "a positive whole number"
            case "do_sample_frames":
                fine = isinstance(value, bool)
                facts[name], wanted = value, "true or false"
            case _:
                value = value.tolist() if hasattr(value, "tolist") else value
                fine = (
                    isinstance(value, Sequence)
                    and not isinstance(value, str)
                    and all(map(_whole, value))
                )
                facts[name], wanted = tuple(value) if fine else (), "a list of whole numbers"
        if not fine:
            raise invalid(f"{name} must be {wanted}.", where)
    return {
        name: float(value) if name in ("fps", "duration") else value
        for name, value in facts.items()
    }


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST_FRAMES
