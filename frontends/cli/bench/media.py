"""Pictures, clips and sounds for `thespis bench serve`: new ones, or some that were sent before."""

import argparse
import base64
import io
import random
from collections.abc import Sequence
from itertools import cycle
from typing import Any, Literal, cast

from .asking import add_size_argument, clip_part, picture_part, picture_url
from .numbers import between

MediaKind = Literal["image", "video", "audio"]
KINDS: tuple[MediaKind, ...] = ("image", "video", "audio")
SIDE, SECONDS = 336, 2.0
MOST_SECONDS = 600.0
FRAMES_PER_SECOND, SAMPLES_PER_SECOND = 10, 16_000
KEPT = 16
"""Items that may be sent again: what is repeated is what came lately."""


def add_media_arguments(parser: argparse.ArgumentParser) -> None:
    text = f"send an item with each prompt, of several kinds in turn: {', '.join(KINDS)}"
    parser.add_argument(
        "--media", type=media_kinds, metavar="KIND,KIND", help=f"{text} (default: none)"
    )
    add_size_argument(parser, SIDE, "pictures and clips")
    parser.add_argument(
        "--seconds",
        type=between(0.1, MOST_SECONDS),
        default=SECONDS,
        metavar="X",
        help="of clips and sounds (default: %(default)s)",
    )
    parser.add_argument(
        "--repeat",
        type=between(0.0, 1.0),
        default=0.0,
        metavar="SHARE",
        help="of the requests, 0 to 1, whose item was sent before (default: %(default)s: all are "
        "new)",
    )


def media_kinds(text: str) -> tuple[MediaKind, ...]:
    """`image`, or `image,audio`."""
    words = text.split(",")
    if not set(words) <= set(KINDS):
        raise argparse.ArgumentTypeError(
            f"expected {', '.join(KINDS)}, or several with commas between, got {text!r}"
        )
    return cast(tuple[MediaKind, ...], tuple(words))


class Media:
    """One item after the other, of each kind in turn, as content parts. `plain`: only in OpenAI's
    own forms, where it has one."""

    def __init__(
        self,
        kinds: Sequence[MediaKind],
        size: int,
        seconds: float,
        repeat: float,
        seed: int,
        plain: bool,
    ) -> None:
        self._kinds, self._size, self._seconds, self._plain = cycle(kinds), size, seconds, plain
        self._repeat, self._seed = repeat, seed
        self._random = random.Random(seed)
        self._sent: list[dict[str, Any]] = []
        self._count = 0

    def next(self) -> dict[str, Any]:
        """Of n items a share of n is not new, to the nearest lower number; the first always is."""
        self._count += 1
        again = int(self._count * self._repeat) > int((self._count - 1) * self._repeat)
        if again and self._sent:
            return self._random.choice(self._sent)
        self._seed += 1
        part = self._part(self._seed)
        self._sent = [*self._sent[1 - KEPT :], part]
        return part

    def _part(self, seed: int) -> dict[str, Any]:
        match next(self._kinds):
            case "image":
                return picture_part(picture_url(seed, self._size))
            case "video":
                return clip_part(_url("video/mp4", clip_bytes(seed, self._size, self._seconds)))
            case "audio":
                data = sound_bytes(seed, self._seconds)
                if not self._plain:
                    return {"type": "audio_url", "audio_url": {"url": _url("audio/wav", data)}}
                text = base64.b64encode(data).decode()
                return {"type": "input_audio", "input_audio": {"data": text, "format": "wav"}}


def _url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def clip_bytes(seed: int, size: int, seconds: float) -> bytes:
    """An MP4 of H.264 whose frames are noise. Its sides are even, as H.264 wants them."""
    import av
    import numpy as np

    side = size + size % 2
    random_numbers = np.random.default_rng(seed)
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track: Any = container.add_stream(
            "libx264", rate=FRAMES_PER_SECOND, options={"preset": "ultrafast", "threads": "1"}
        )
        track.width, track.height, track.pix_fmt = side, side, "yuv420p"
        for _ in range(max(1, round(seconds * FRAMES_PER_SECOND))):
            pixels = random_numbers.integers(0, 256, (side, side, 3), dtype=np.uint8)
            container.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(track.encode())
    return stream.getvalue()


def sound_bytes(seed: int, seconds: float) -> bytes:
    """A WAV of quiet noise, mono."""
    import wave

    import numpy as np

    count = max(1, round(seconds * SAMPLES_PER_SECOND))
    samples = np.random.default_rng(seed).integers(-8192, 8192, count, dtype=np.int16)
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLES_PER_SECOND)
        file.writeframes(samples.tobytes())
    return stream.getvalue()
