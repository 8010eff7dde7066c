"""Files of pictures, clips and sounds of many formats, sizes and lengths, drawn from a seed."""

import io
from collections.abc import Iterator
from fractions import Fraction
from random import Random
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

PICTURES: dict[str, tuple[str, ...]] = {
    "PNG": ("RGB", "RGBA", "L", "P", "1", "LA"),
    "JPEG": ("RGB", "L", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("RGB", "L", "1"),
    "AVIF": ("RGB",),
    "BMP": ("RGB", "L", "P"),
    "GIF": ("P", "L"),
    "MPO": ("RGB",),
}
"""By format, the modes that it is drawn in."""
TURNED = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "MPO")
"""Formats that say which way up they are."""
CLIPS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("libx264", "mp4", {"bf": "2", "g": "7"}),
    ("libx264", "matroska", {"bf": "3"}),
    ("libx264", "mpegts", {}),
    ("libx264", "flv", {"bf": "2"}),
    ("libx265", "mp4", {"x265-params": "log-level=none"}),
    ("libvpx", "webm", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
    ("libvpx-vp9", "webm", {"lag-in-frames": "8", "deadline": "realtime", "cpu-used": "8"}),
    ("mpeg4", "avi", {"bf": "2"}),
    ("mjpeg", "avi", {}),
)
SOUNDS: tuple[tuple[str, str, int], ...] = (
    ("pcm_s16le", "wav", 16_000),
    ("pcm_f32le", "wav", 48_000),
    ("pcm_mulaw", "wav", 8_000),
    ("pcm_s16be", "aiff", 22_050),
    ("flac", "flac", 44_100),
    ("libmp3lame", "mp3", 44_100),
    ("libmp3lame", "mp3", 24_000),
    ("aac", "mp4", 44_100),
    ("aac", "adts", 44_100),
    ("aac", "matroska", 44_100),
    ("libopus", "ogg", 48_000),
    ("libopus", "webm", 48_000),
    ("libopus", "mp4", 48_000),
    ("alac", "mp4", 44_100),
    ("ac3", "ac3", 48_000),
    ("mp2", "mpeg", 44_100),
)


class File(NamedTuple):
    """A medium, and what it is."""

    kind: str
    """Of the media type: image/png."""
    data: bytes


def random_picture(draw: Random, form: str, most: int = 300) -> File:
    """`most`: pixels of a side."""
    least = 16 if form == "AVIF" else 1
    width, height = draw.randint(least, most), draw.randint(least, most)
    noise = np.random.default_rng(draw.getrandbits(32))
    image = Image.fromarray(noise.integers(0, 256, (height, width, 3), dtype=np.uint8))
    image = image.convert(draw.choice(PICTURES[form]))
    more: dict[str, Any] = {}
    if form in TURNED and (way := draw.randint(0, 8)):
        exif = Image.Exif()
        exif[0x0112] = way
        more["exif"] = exif if form == "TIFF" else exif.tobytes()
    if form == "TIFF":
        more["compression"] = draw.choice(("raw", "tiff_lzw"))
    file = io.BytesIO()
    image.save(file, form, **more)
    return File(f"image/{form.lower()}", file.getvalue())


def random_clip(draw: Random, codec: str, container: str, options: dict[str, str]) -> File:
    import av

    file = io.BytesIO()
    width, height = draw.randrange(64, 200, 2), draw.randrange(64, 200, 2)
    with av.open(file, "w", format=container) as out:
        rate = draw.choice((Fraction(1, 2), 5, 24, Fraction(30_000, 1001), 60))
        stream: Any = out.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if container == "mp4":
            stream.set_display_rotation(draw.choice((0, 90, 180, 270)))
        for index in range(draw.randint(2, 40)):
            pixels = np.full((height, width, 3), index * 5 % 255, np.uint8)
            pixels[: height // 2] = draw.randint(0, 255)
            frame: Any = av.VideoFrame
            out.mux(stream.encode(frame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode(None))
    return File("video/mp4", file.getvalue())


def random_sound(draw: Random, codec: str, container: str, rate: int, most: float = 3.0) -> File:
    """`most`: seconds."""
    import av

    count = draw.randint(2000, int(rate * most))
    noise = np.random.default_rng(draw.getrandbits(32))
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=rate)
        stream.layout = draw.choice(("mono", "stereo"))
        channels = 1 if stream.layout.name == "mono" else 2
        samples = (noise.standard_normal((1, count * channels)) * 3000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=stream.layout.name)
        frame.sample_rate, frame.pts = rate, 0
        for piece in _pieces(frame, stream):
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return File(f"audio/{container}", file.getvalue())


def _pieces(frame: Any, stream: Any) -> Iterator[Any]:
    """As long as the encoder wants them."""
    import av

    coded = stream.codec_context
    convert = av.AudioResampler(format=coded.format, layout=stream.layout, rate=coded.sample_rate)
    queue = av.AudioFifo()
    for made in (*convert.resample(frame), *convert.resample(None)):
        queue.write(made)
    while (piece := queue.read(coded.frame_size or 1024)) is not None:
        yield piece
    if (rest := queue.read(0, partial=True)) is not None and rest.samples:
        yield rest
