"""Animated PNG and WebP as clips: what is to be known stands in the headers, PIL decodes."""

import io
import struct
import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...protocol.errors import RequestError, undecodable
from ..jobs.options import WHITE
from . import png
from .image import flatten

DAMAGED = "The video is damaged: frames are missing or cannot be decoded."
SHORTEST = 11
"""Milliseconds. Players show frames that state less for `INSTEAD`."""
INSTEAD = 100


class Animation(NamedTuple):
    width: int
    height: int
    durations: tuple[int, ...]
    """Milliseconds of each frame that is shown."""
    hidden: int
    """Pictures before the first frame: what programs see that know no animation."""
    data: bytes

    @property
    def times(self) -> list[int]:
        """When each frame is shown first, in milliseconds."""
        return [0, *np.cumsum(self.durations[:-1]).tolist()] if self.durations else []

    @property
    def seconds(self) -> float:
        return sum(self.durations) / 1000


def is_animation(data: bytes) -> bool:
    """Or a still picture of such a format."""
    return data.startswith(png.MAGIC) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def animation_of(data: bytes) -> Animation | None:
    """None for a file of another kind. Raises RequestError for one that is a still picture."""
    if not is_animation(data):
        return None
    found = _apng(data) if data.startswith(png.MAGIC) else _webp(data)
    if not found.durations:
        raise undecodable("The file is a picture, not a video; send it as an image.")
    return found


def frames_of(animation: Animation, chosen: list[int]) -> NDArray[np.uint8]:
    """[T, H, W, 3] of the chosen frames, rising; all up to the last are decoded, for each is drawn
    over the one before."""
    kept: list[NDArray[np.uint8]] = []
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(io.BytesIO(animation.data), formats=("PNG", "WEBP")) as image,
        ):
            for index in range(chosen[-1] + 1):
                image.seek(animation.hidden + index)
                image.load()
                if times := chosen.count(index):
                    kept += [np.asarray(flatten(image.copy(), WHITE))] * times
    except (MemoryError, RequestError):
        raise
    except Exception as error:  # each of PIL's decoders raises its own
        raise undecodable(DAMAGED) from error
    return np.stack(kept)


def _apng(data: bytes) -> Animation:
    width, height = struct.unpack_from(">II", data.ljust(24, b"\0"), 16)
    durations: list[int] = []
    hidden, animated = 0, False
    for kind, start, _ in png.chunks(data):
        body = data[start + 8 : start + 34].ljust(26, b"\0")
        if kind == b"acTL":
            animated = True
        elif kind == b"IDAT" and not durations:
            hidden = 1
        elif kind == b"fcTL":
            over, under = struct.unpack_from(">HH", body, 20)
            durations.append(_shown(over * 1000 // (under or 100)))
    plain = png.plain(data, animated=True)
    return Animation(width, height, tuple(durations) if animated else (), hidden, plain)


def _webp(data: bytes) -> Animation:
    """Its chunks are of RIFF: kind, size, content."""

    def number(at: int, size: int = 3) -> int:
        return int.from_bytes(data[at : at + size], "little")

    width, height, durations, at = 0, 0, list[int](), 12
    while at + 8 <= len(data):
        if data[at : at + 4] == b"VP8X":
            width, height = 1 + number(at + 12), 1 + number(at + 15)
        elif data[at : at + 4] == b"ANMF":
            durations.append(_shown(number(at + 20)))
        size = number(at + 4, 4)
        at += 8 + size + size % 2
    return Animation(width, height, tuple(durations), 0, data)


def _shown(milliseconds: int) -> int:
    return milliseconds if milliseconds >= SHORTEST else INSTEAD
