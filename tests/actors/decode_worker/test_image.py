"""Pictures as callers send them: every format, transparency, orientation, and what is refused."""

import io
import struct
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thespis.actors.decode_worker.image import NOT_DECODABLE, decode_image, image_of_pixels
from thespis.actors.jobs.options import WHITE, background_of
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.errors import RequestError

from ...helpers.media import picture, png

LIMITS = MediaLimits()


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "TIFF", "GIF", "JPEG"])
def test_formats(form: str) -> None:
    image = picture(1, 40, 30)
    data = encode(image, form, **({"lossless": True} if form == "WEBP" else {}))
    made = decode_image(data, LIMITS)
    assert made.mode == "RGB"
    off = np.abs(np.asarray(made).astype(int) - np.asarray(image).astype(int)).mean()
    assert off < (40 if form == "JPEG" else 0.01)


@pytest.mark.parametrize("form", ["JPEG2000", "EPS", "PPM", "TGA"])
def test_formats_that_are_not_taken(form: str) -> None:
    with pytest.raises(RequestError) as refused:
        decode_image(encode(picture(1), form), LIMITS)
    assert refused.value.failure.kind == "unprocessable_media"
    assert (
        refused.value.failure.text == NOT_DECODABLE
        or "JPEG 2000, which is not read" in refused.value.failure.text
    )


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(RequestError, match="cannot be decoded"):
        decode_image(data, LIMITS)


def test_a_cut_off_picture_is_damaged() -> None:
    data = encode(picture(1, 300, 300), "JPEG")
    with pytest.raises(RequestError, match="damaged or cut off"):
        decode_image(data[: len(data) // 2], LIMITS)


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "TIFF", "GIF", "JPEG", "AVIF"])
def test_whatever_is_wrong_with_a_picture_is_said_in_our_words(form: str) -> None:
    """Bytes changed at random: a picture, or a refusal."""
    draw, whole, kinds = np.random.default_rng(7), encode(picture(1, 40, 30), form), set()
    for _ in range(100):
        data = bytearray(whole[: draw.integers(1, len(whole) + 1) if draw.random() < 0.3 else None])
        for place in draw.integers(0, min(len(data), 100), 4):
            data[place] = draw.integers(0, 256)
        try:
            decode_image(bytes(data), LIMITS)
        except RequestError as error:
            kinds.add(error.failure.kind)
    assert {"unprocessable_media"} <= kinds <= {"unprocessable_media", "too_large"}


def test_S8_pixels_are_counted_in_the_header() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"x")
    )
    with pytest.raises(RequestError) as refused:
        decode_image(bomb, LIMITS)
    assert refused.value.failure.kind == "too_large"
    assert "50000x50000" in refused.value.failure.text


def _clear_square(mode: str) -> Image.Image:
    image = Image.new("RGBA", (8, 8), (10, 20, 30, 255))
    image.paste((200, 0, 0, 0), (0, 0, 4, 8))
    return image.convert(mode)


@pytest.mark.parametrize("background", [WHITE, (0, 0, 0), (128, 128, 128)])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_S25_transparency_shows_the_background(mode: str, background: tuple[int, int, int]) -> None:
    made = decode_image(png(_clear_square(mode)), LIMITS, background)
    assert made.getpixel((0, 0)) == background
    assert made.getpixel((7, 0)) == ((10, 20, 30) if mode == "RGBA" else (18, 18, 18))


def test_S25_a_palette_with_transparency() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 0)
    made = decode_image(encode(image, "PNG", transparency=0), LIMITS)
    assert (made.getpixel((0, 0)), made.getpixel((1, 1))) == (WHITE, (0, 0, 255))


def test_S27_opaque_pictures_do_not_change() -> None:
    data = png(picture(4))
    assert (
        decode_image(data, LIMITS).tobytes()
        == decode_image(data, LIMITS, (0, 0, 0)).tobytes()
        == picture(4).tobytes()
    )


def test_S13_orientation_is_applied() -> None:
    image = picture(2, 30, 20)
    exif = Image.Exif()
    exif[0x0112] = 6
    made = decode_image(encode(image, "PNG", exif=exif), LIMITS)
    assert made.size == (20, 30)
    assert made.tobytes() == image.transpose(Image.Transpose.ROTATE_270).tobytes()


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("RGB", (6, 5, 3)), ("RGBA", (6, 5, 4)), ("L", (6, 5)), ("LA", (6, 5, 2)), ("L", (6, 5, 1))],
)
def test_pixels(mode: str, shape: tuple[int, ...]) -> None:
    made = image_of_pixels(np.full(shape, 255, np.uint8), mode, LIMITS, WHITE)
    assert (made.mode, made.size) == ("RGB", (5, 6))


@pytest.mark.parametrize(
    ("mode", "shape"),
    [("RGB", (6, 5, 4)), ("L", (6, 5, 3)), ("P", (6, 5)), ("RGB", (0, 5, 3)), ("RGB", (5,))],
)
def test_pixels_of_another_layout(mode: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match="has not the layout"):
        image_of_pixels(np.zeros(shape, np.uint8), mode, LIMITS, WHITE)


@pytest.mark.parametrize("value", [(1, 2), "white", (1, 2, 256), (1, 2, -1), (1, 2, 3.0), None])
def test_S26_a_background_is_three_numbers(value: Any) -> None:
    with pytest.raises(RequestError) as refused:
        background_of({"rgba_background_color": value})
    text = "rgba_background_color must be a list or tuple of 3 integers in the range [0, 255]."
    assert refused.value.failure.text == text


ROOM = """
import io
import sys

from PIL import Image

from thespis.actors.decode_worker.image import decode_image
from thespis.actors.kernel.budget import BudgetError, memory_budget
from thespis.protocol.config.roles import MediaLimits

mode, turn = sys.argv[1], int(sys.argv[2])
file, exif = io.BytesIO(), Image.Exif()
exif[0x0112] = turn
Image.new(mode, (5000, 4000)).save(file, "PNG", exif=exif, compress_level=1)
for room in (80, 240):  # MiB: of the picture as PIL has it, and of three of it
    try:
        with memory_budget(room << 20):
            print(decode_image(file.getvalue(), MediaLimits()).size, end=" ")
    except BudgetError:
        print("beyond", end=" ")
"""


@pytest.mark.parametrize(("mode", "turn"), [("RGBA", 1), ("LA", 1), ("RGBA", 6), ("RGB", 6)])
def test_a_large_picture_is_there_three_times_at_most(mode: str, turn: int) -> None:
    """As the limit of a worker's memory has it, of the most pixels that are taken. In a process of
    its own, whose memory nobody else has used."""
    program = [sys.executable, "-P", "-c", ROOM, mode, str(turn)]
    ran = subprocess.run(program, capture_output=True, text=True, timeout=60)
    size = (5000, 4000) if turn == 1 else (4000, 5000)
    assert ran.stdout == f"beyond {size} ", ran.stderr
