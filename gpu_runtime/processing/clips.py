"""Which frames of a clip a checkpoint's own video processor looks at."""

from copy import copy
from inspect import signature
from typing import Any

from transformers.video_utils import VideoMetadata

from .types import Options

FASTEST = 4
"""Times the source's rate: at a higher one, too, no class sees more than every frame, though some
count longer."""
_NOT_OF_SAMPLING = {
    "input_data_format", "do_convert_rgb", "do_sample_frames", "device", "video_metadata",
}  # fmt: skip
_BOUNDS = frozenset({"min_frames", "max_frames"})
_EITHER = {"num_frames": "fps", "fps": "num_frames"}


def choose_frames(
    processor: Any, total: int, fps: float | None, options: Options
) -> list[int] | None:
    """Indices, never falling, by the class's own rule; None: it has none for this clip, or does not
    choose by itself.

    `total` frames at `fps` a second. `options` go before what the checkpoint says.
    """
    asked = {name: value for name, value in options.items() if value is not None}
    if not asked.get("do_sample_frames", processor.do_sample_frames):
        return None
    if asked.get("num_frames") == -1:
        return list(range(total))
    if fps and "fps" in asked:
        asked["fps"] = min(asked["fps"], FASTEST * fps)
    asked |= {name: min(asked[name], total) for name in ("num_frames", *_BOUNDS) if name in asked}
    own = {name: getattr(processor, name, None) for name in processor.valid_kwargs.__annotations__}
    given = own | asked
    given = {name: given[name] for name in given.keys() - _NOT_OF_SAMPLING}
    found = _sampled(processor, total, fps, given)
    if found is None:
        # Most classes take one of the two alone, and the checkpoint may say the other.
        without = {other: None for name, other in _EITHER.items() if name in asked}
        found = _sampled(processor, total, fps, given | without)
    return found


def _sampled(processor: Any, total: int, fps: float | None, given: Options) -> list[int] | None:
    # Those that it has from itself.
    for name in _BOUNDS & given.keys() - signature(processor.sample_frames).parameters.keys():
        processor = copy(processor)
        setattr(processor, name, given[name])
    metadata = VideoMetadata(total_num_frames=total, fps=fps, duration=total / fps if fps else None)
    try:
        indices = [int(index) for index in processor.sample_frames(metadata=metadata, **given)]
    except (ValueError, ArithmeticError):  # too short a clip
        return None
    except TypeError:
        if fps is None:  # it counts with the rate
            return None
        raise
    return indices if indices and indices[0] >= 0 and indices[-1] < total else None
