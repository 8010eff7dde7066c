"""Options of decoding, checked where they arrive and read where an item is decoded. No decoder is
imported here."""

from typing import Any

from ...protocol.errors import invalid

WHITE = (255, 255, 255)
SOUND_TRACK = "sound_track"
"""Set by the shell alone: the clip's own sound goes with it, where it has one."""
SIBLINGS = "siblings"
"""Set by the shell alone: the prompt has another item of the modality in whose company this one has
other rows."""
CUT = "cut"
"""Set by the shell alone: [seconds, rows, place], by which a sound is to be cut into pieces; place:
the fields of the `CutPlace` where to begin, or None."""
MOST_FRAMES, MOST_FPS = "most_frames", "most_fps"
"""Set by the shell alone: the operator's ceilings for the number of frames and for the rate of
sampling. A rate may also say how far apart a caller's own frames are; to that no ceiling
applies."""


def background_of(options: dict[str, Any]) -> tuple[int, int, int]:
    """`rgba_background_color`; raises RequestError where it is no colour."""
    value = options.get("rgba_background_color", WHITE)
    three = isinstance(value, list | tuple) and len(value) == 3
    if not three or not all(type(v) is int and 0 <= v <= 255 for v in value):
        raise invalid(
            "rgba_background_color must be a list or tuple of 3 integers in the range [0, 255].",
            "media_io_kwargs",
        )
    return value[0], value[1], value[2]
