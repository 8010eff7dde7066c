"""Clips and sounds in every container, made with PyAV; what they show and sound like is read back
with PyAV as well."""

import io
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np
from PIL import Image

from ..helpers.media import RATE, Pixels, Sound, picture


class Form(NamedTuple):
    container: str
    codec: str
    pixels: str = "yuv420p"
    kind: str = "video/mp4"


FORMS = {
    "mp4": Form("mp4", "libx264"),
    "mov": Form("mov", "libx264", kind="video/quicktime"),
    "mkv": Form("matroska", "libx264", kind="video/x-matroska"),
    "webm": Form("webm", "libvpx-vp9", kind="video/webm"),
    "avi": Form("avi", "mjpeg", "yuvj420p", "video/x-msvideo"),
    "gif": Form("gif", "gif", "rgb8", "image/gif"),
}


def film(
    form: str = "mp4",
    frames: int = 8,
    seed: int = 1,
    rate: int = 2,
    size: tuple[int, int] = (56, 56),
    times: Sequence[int] | None = None,
    sound: Sound | None = None,
    sound_codec: str = "pcm_s16le",
) -> bytes:
    """Mosaics at `rate` per second. `times`: of each frame, in units of 1 / `rate`; else one after
    the other."""
    made = FORMS[form]
    file = io.BytesIO()
    container: Any
    with av.open(file, "w", format=made.container) as container:
        options = {"crf": "12", "threads": "1"} if made.codec == "libx264" else {}
        stream = container.add_stream(made.codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, made.pixels
        stream.time_base = Fraction(1, rate)
        ear = container.add_stream(sound_codec, rate=RATE) if sound is not None else None
        if ear is not None:
            ear.layout = "mono"
        for index in range(frames):
            frame: Any = av.VideoFrame.from_image(  # type: ignore[no-untyped-call]
                picture(1000 * seed + index, *size)
            )
            frame.pts, frame.time_base = (times[index] if times else index), Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _add_sound(container, ear, sound)
    return file.getvalue()


def track(
    container_name: str, codec: str, samples: Sound, rate: int = RATE, channels: int = 1
) -> bytes:
    """A sound alone; every channel says the same."""
    file = io.BytesIO()
    container: Any
    with av.open(file, "w", format=container_name) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono" if channels == 1 else "stereo"
        _add_sound(container, stream, samples, rate, channels)
    return file.getvalue()


def _add_sound(
    container: Any, stream: Any, samples: Sound, rate: int = RATE, channels: int = 1
) -> None:
    whole = np.repeat((samples * 32768).astype(np.int16)[None], channels, axis=0).T.reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(whole), format="s16", layout="mono" if channels == 1 else "stereo"
    )
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    for packet in (*stream.encode(frame), *stream.encode(None)):
        container.mux(packet)


def shown(encoded: bytes) -> Pixels:
    """Every frame, as PyAV decodes it."""
    container: Any
    with av.open(io.BytesIO(encoded)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def heard(encoded: bytes) -> tuple[Sound, int]:
    """The sound of a file, mixed to one channel, and its rate."""
    pieces: list[Any] = []
    container: Any
    with av.open(io.BytesIO(encoded)) as container:
        planar = av.AudioResampler(format="fltp")
        for frame in container.decode(audio=0):
            pieces += [
                out.to_ndarray().mean(axis=0, dtype=np.float32) for out in planar.resample(frame)
            ]
        return np.concatenate(pieces), container.streams.audio[0].rate


def turned(mp4: bytes) -> bytes:
    """The same clip as a phone held upright writes it: to be shown a quarter turn clockwise."""
    data = bytearray(mp4)
    at = (
        data.index(b"tkhd") + 4 + 4 + 4 * 5 + 16
    )  # version 0: times, track, duration; layer, volume and the like
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    return bytes(data)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()
