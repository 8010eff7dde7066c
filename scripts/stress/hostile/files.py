"""Real media files of every kind, small, made once in a process; and what can be done to the bytes
of any file."""

import io
import wave
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from thespis.tests.helpers.media import clip, picture, sound, wav

_MEDIA_TYPES = {
    "jpeg": "image/jpeg", "progressive": "image/jpeg", "png": "image/png", "gif": "image/gif",
    "webp": "image/webp",
    "apng": "image/png", "bmp": "image/bmp", "tiff": "image/tiff", "avif": "image/avif",
    "jp2": "image/jp2",
    "ico": "image/x-icon",
    "ppm": "image/x-portable-pixmap", "tga": "image/x-tga", "mp4": "video/mp4",
    "mkv": "video/x-matroska",
    "webm": "video/webm",
    "avi": "video/x-msvideo", "ts": "video/mp2t", "flv": "video/x-flv", "mov": "video/quicktime",
    "wav": "audio/wav",
    "flac": "audio/flac", "mp3": "audio/mpeg", "ogg": "audio/ogg", "m4a": "audio/mp4",
    "aiff": "audio/aiff",
}  # fmt: skip
NAMES = tuple(_MEDIA_TYPES)


def media_type(name: str) -> str:
    return _MEDIA_TYPES[name]


@cache
def real(name: str) -> bytes:
    """A good file."""
    match media_type(name).partition("/")[0]:
        case "image":
            return _image(name)
        case "video":
            return clip(1) if name == "mp4" else _video(name)
    return wav(sound(1)) if name == "wav" else _audio(name)


def _image(name: str) -> bytes:
    still, file = picture(1, 96, 64), io.BytesIO()
    saved: dict[str, tuple[str, dict[str, Any]]] = {
        "jpeg": ("JPEG", {}),
        "progressive": ("JPEG", {"progressive": True}),
        "gif": (
            "GIF",
            {
                "save_all": True,
                "append_images": [picture(at, 96, 64) for at in range(2, 6)],
                "duration": 100,
            },
        ),
        "webp": (
            "WEBP",
            {"save_all": True, "append_images": [picture(2, 96, 64)], "duration": 100},
        ),
        "apng": ("PNG", {"save_all": True, "append_images": [picture(2, 96, 64)], "duration": 100}),
        "jp2": ("JPEG2000", {}),
    }
    kind, options = saved.get(name, (name.upper(), {}))
    still.save(file, kind, **options)
    return file.getvalue()


def _video(name: str) -> bytes:
    import av

    formats = {
        "mkv": ("matroska", "libx264"),
        "webm": ("webm", "libvpx"),
        "ts": ("mpegts", "mpeg2video"),
        "flv": ("flv", "flv1"),
    }
    container_name, codec = formats.get(name, (name, "mpeg4"))
    file = io.BytesIO()
    with av.open(file, "w", format=container_name) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index in range(12):
            frame: Any = av.VideoFrame
            container.mux(stream.encode(frame.from_image(picture(index, 96, 64))))
        container.mux(stream.encode(None))
    return file.getvalue()


def _audio(name: str) -> bytes:
    import av

    formats = {
        "flac": ("flac", "flac", "s16"),
        "mp3": ("mp3", "libmp3lame", "s16p"),
        "ogg": ("ogg", "libopus", "s16"),
    }
    container_name, codec, layout = {
        **formats,
        "m4a": ("ipod", "aac", "fltp"),
        "aiff": ("aiff", "pcm_s16be", "s16"),
    }[name]
    file, rate = io.BytesIO(), 48_000
    samples = (np.sin(np.arange(rate // 2) / 20) * 20_000).astype(np.int16)[None]
    with av.open(file, "w", format=container_name) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        frame: Any = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = rate
        for ready in av.AudioResampler(layout, "mono", rate, stream.frame_size or None).resample(
            frame
        ):
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return file.getvalue()


def _truncated(draw: Random, data: bytes) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _flipped(draw: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 3, 30, 1000))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _broken_head(draw: Random, data: bytes) -> bytes:
    """Sizes, counts and offsets stand in the first bytes of most formats."""
    changed = bytearray(data)
    at = draw.randrange(min(200, len(changed)))
    changed[at : at + 4] = draw.choice(
        (
            b"\xff" * 4,
            b"\x7f\xff\xff\xff",
            bytes(4),
            b"\x00\x01\x00\x00",
            b"\xff\xff\xff\x7f",
            b"\x80\0\0\0",
        )
    )
    return bytes(changed)


def _repeated(draw: Random, data: bytes) -> bytes:
    start = draw.randrange(len(data))
    piece = data[start : start + draw.choice((1, 12, 500, 10_000))]
    return (
        data[:start] + piece * draw.choice((2, 100, max(1, 300_000 // len(piece)))) + data[start:]
    )


def _cut(draw: Random, data: bytes) -> bytes:
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.choice((1, 4, 100)) :]


def _grown(draw: Random, data: bytes) -> bytes:
    more = draw.choice((bytes(2000), b"\xff" * 2000, data, draw.randbytes(3000), bytes(3_000_000)))
    return draw.choice(
        (data + more, more + data, data[: len(data) // 2] + more + data[len(data) // 2 :])
    )


def _spliced(draw: Random, data: bytes) -> bytes:
    """The head of one kind with the body of another."""
    other = real(draw.choice(NAMES))
    at = draw.choice((4, 12, 64, 500))
    return data[:at] + other[at:]


def _whole(draw: Random, data: bytes) -> bytes:
    return data


_HARM: tuple[Callable[[Random, bytes], bytes], ...] = (
    _truncated, _flipped, _flipped, _broken_head, _broken_head, _repeated, _cut, _grown, _spliced,
    _whole,
)  # fmt: skip


def harmed(draw: Random, data: bytes) -> tuple[str, bytes]:
    """The bytes after one or two mishaps, and their names."""
    names = []
    for _ in range(draw.choice((1, 1, 2))):
        harm = draw.choice(_HARM)
        names.append(harm.__name__.strip("_").replace("_", " "))
        data = harm(draw, data) if data else data
    return " and ".join(names), data


def huge_wav(claimed: int) -> bytes:
    """Claims so many bytes of sound, and has none."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        out.writeframes(b"")
    data = bytearray(file.getvalue())
    data[40:44] = (claimed & 0xFFFFFFFF).to_bytes(4, "little")
    return bytes(data)


def many_pixels(draw: Random, side: int, kind: str) -> bytes:
    """A picture that is small as a file and large when it is decoded."""
    file = io.BytesIO()
    options: dict[str, Any] = {"progressive": True} if kind == "JPEG" else {}
    Image.new(draw.choice(("RGB", "L")), (side, draw.choice((side, 1, side // 2 + 1))), 7).save(
        file, kind, **options
    )
    return file.getvalue()
