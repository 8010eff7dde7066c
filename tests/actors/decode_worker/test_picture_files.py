"""Picture files as cameras, phones and hostile callers write them: what is not needed is not read,
and cost is bounded."""

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import thespis
from thespis.actors.decode_worker import image as image_module
from thespis.actors.decode_worker.image import decode_image
from thespis.actors.decode_worker.picture_cost import MOST_SCANS, jpeg_scans, tiff_strips
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.errors import RequestError

from ...helpers.media import picture

LIMITS = MediaLimits()
PICTURE = picture(1, 40, 30)
BOMB = zlib.compress(bytes(4 << 20))
SIDEWAYS = Image.Exif()
SIDEWAYS[0x0112] = 6
DAMAGED_EXIF = b"MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 100


def encode(form: str, image: Image.Image = PICTURE, **options: Any) -> bytes:
    pillow_heif.register_heif_opener()
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(whole: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    data = encode("PNG")
    return data[:33] + whole + data[33:]


def pixels(data: bytes) -> "np.ndarray[Any, Any]":
    return np.asarray(decode_image(data, LIMITS))


@pytest.mark.parametrize(
    "whole",
    [
        chunk(b"iCCP", b"a\0\0" + BOMB),
        chunk(b"zTXt", b"a\0\0" + BOMB),
        chunk(b"iTXt", b"a\0\1\0\0\0" + BOMB),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + BOMB),
        chunk(b"zTXt", b"Raw profile type exif\0\0no zlib"),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1"),
        chunk(b"tEXt", b"a\0" + bytes(3 << 20)),
        chunk(b"iCCP", b"no profile"),
        chunk(b"eXIf", DAMAGED_EXIF),
        chunk(b"eXIf", bytes(2 << 20)),
        chunk(b"pHYs", b"short"),
        chunk(b"teSt", b"private") * 1000,
        chunk(b"tEXt", b"wrong sum")[:-1] + b"?",
    ],
)
def test_C2_what_a_png_says_beside_its_picture_is_not_needed(whole: bytes) -> None:
    assert np.array_equal(pixels(with_chunk(whole)), np.asarray(PICTURE))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"gAMA", b"acTL", b"fcTL"]
            ),
            st.binary(),
        )
    )
)
@settings(max_examples=100, deadline=None)
def test_C2_whatever_stands_in_such_chunks_the_picture_comes_out(
    found: list[tuple[bytes, bytes]],
) -> None:
    assert np.array_equal(
        pixels(with_chunk(b"".join(chunk(*one) for one in found))), np.asarray(PICTURE)
    )


@pytest.mark.parametrize("junk", [b"x" * 200_000, b""])
@pytest.mark.parametrize("form", ["JPEG", "WEBP", "TIFF", "AVIF"])
def test_C2_a_damaged_profile_or_exif_in_other_formats(form: str, junk: bytes) -> None:
    options: dict[str, Any] = {} if form == "TIFF" else {"quality": 90}
    plain = pixels(encode(form, **options))
    assert np.array_equal(pixels(encode(form, icc_profile=junk, **options)), plain)
    if form in ("JPEG", "WEBP"):
        assert np.array_equal(
            pixels(encode(form, exif=b"Exif\0\0" + DAMAGED_EXIF, **options)), plain
        )


def test_C2_comments_and_previews_in_a_jpeg() -> None:
    plain = pixels(encode("JPEG"))
    assert np.array_equal(pixels(encode("JPEG", comment=b"c" * 60_000)), plain)
    assert np.array_equal(pixels(encode("MPO", save_all=True, append_images=[PICTURE])), plain)
    assert np.array_equal(pixels(encode("JPEG") + b"a camera's trailer" * 99), plain)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_C2_the_orientation_is_still_applied(form: str) -> None:
    assert decode_image(encode(form, exif=SIDEWAYS), LIMITS).size == (30, 40)


def test_C2_the_orientation_of_a_png_may_be_in_its_text() -> None:
    xmp = zlib.compress(b'<x tiff:Orientation="6"/>')
    assert decode_image(
        with_chunk(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + xmp)), LIMITS
    ).size == (30, 40)


def test_C5_avif_and_heic_are_read() -> None:
    for form in ("AVIF", "HEIF"):
        near = np.abs(pixels(encode(form)).astype(int) - np.asarray(PICTURE).astype(int)).mean()
        assert near < 40, form


def test_C5_a_damaged_heic_or_avif_says_so() -> None:
    for form in ("AVIF", "HEIF"):
        whole = encode(form)
        with pytest.raises(RequestError, match="damaged or cut off"):
            decode_image(whole[: len(whole) // 2], LIMITS)


def test_C5_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_module, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"install thespis\[heif\]") as refused:
        decode_image(encode("HEIF"), LIMITS)
    assert (refused.value.status, refused.value.failure.code) == (422, "heif_not_installed")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b" <svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"\0\0\1\0\1\0", "an icon"),
    ],
)
def test_C5_what_is_not_read_is_named(data: bytes, name: str) -> None:
    with pytest.raises(RequestError, match=f"The picture is {name}, which is not read; save it as"):
        decode_image(data, LIMITS)


def test_a_pdf_that_is_sent_as_a_picture_is_told_how_to_come() -> None:
    with pytest.raises(RequestError, match="a PDF, which is a document: send it in a part of type"):
        decode_image(b"%PDF-1.7", LIMITS)


def test_C5_every_format_of_the_page_is_decoded() -> None:
    page = (Path(thespis.__file__).parent / "docs" / "images.md").read_text()
    listed = re.search(r"\n(PNG, [^;]*?) are read", page, re.DOTALL)
    assert listed is not None
    names = re.findall(r"[A-Z][A-Za-z]+", listed[1])
    assert {"PNG", "JPEG", "WebP", "GIF", "BMP", "TIFF", "AVIF", "HEIC"} == set(names)
    for name in names:
        form = {"HEIC": "HEIF"}.get(name, name.upper())
        assert decode_image(encode(form), LIMITS).size == PICTURE.size, name


@pytest.mark.parametrize("form", ["TIFF", "PNG"])
def test_B15_pictures_of_more_than_eight_bits(form: str) -> None:
    deep = np.linspace(0, 65535, 24).astype(np.uint16).reshape(4, 6)
    expected = (deep >> 8).astype(np.uint8)
    assert np.array_equal(pixels(encode(form, Image.fromarray(deep)))[..., 0], expected)
    if form == "TIFF":
        assert np.array_equal(
            pixels(encode(form, Image.fromarray(deep.astype(np.int32))))[..., 0], expected
        )
        assert np.array_equal(
            pixels(encode(form, Image.fromarray(expected.astype(np.int32))))[..., 0], expected
        )
        assert np.array_equal(
            pixels(encode(form, Image.fromarray(expected / np.float32(255))))[..., 0], expected
        )
        assert np.array_equal(
            pixels(encode(form, Image.fromarray(expected.astype(np.float32))))[..., 0], expected
        )
        for values in (deep.astype(np.int32) * 1000, np.full((4, 6), np.nan, np.float32)):
            with pytest.raises(RequestError, match="save it with 8 or 16 bits"):
                pixels(encode(form, Image.fromarray(values)))


@pytest.mark.parametrize(
    ("colour", "depth"), [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16)]
)
def test_S25_the_clear_colour_of_a_png_of_any_depth(colour: int, depth: int) -> None:
    """By the PNG specification, 11.3.2.1: it is given as the pixels are. PIL compares it with what
    it has made of them."""
    top, bands = (1 << depth) - 1, 3 if colour else 1
    row = sorted({0, 1, top // 3, top // 2, top})
    clear = row[1]
    bits = "".join(f"{value:0{depth}b}" * bands for value in row)
    bits = bits.ljust(-len(bits) % 8 + len(bits), "0")
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", len(row), 1, depth, colour, 0, 0, 0))
    clears = chunk(b"tRNS", struct.pack(">H", clear) * bands)
    lines = chunk(b"IDAT", zlib.compress(b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")))
    found = pixels(b"\x89PNG\r\n\x1a\n" + header + clears + lines + chunk(b"IEND", b""))
    expected = [
        255 if value == clear else value * 255 // top if depth <= 8 else value >> 8 for value in row
    ]
    if (colour, depth) == (2, 16):
        expected[0] = 255  # its upper half is that of the clear colour
    assert found[0, :, 0].tolist() == expected


# what a header promises


def many_scans(scans: int, side: int = 64) -> bytes:
    """A progressive JPEG whose last scan is there again and again."""
    data = encode("JPEG", Image.new("RGB", (side, side), (90, 100, 110)), progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (scans - jpeg_scans(data)) + data[-2:]


def test_A3_scans_are_counted_without_decoding() -> None:
    assert jpeg_scans(encode("JPEG")) == 1
    assert jpeg_scans(encode("JPEG", progressive=True)) == 10
    assert jpeg_scans(many_scans(3000)) == 3000
    assert jpeg_scans(encode("JPEG") + b"\xff\xda" * 9) == 1  # behind the end
    hidden = b"\xff\xe1\x00\x0c" + b"\xff\xda" * 5
    assert jpeg_scans(encode("JPEG")[:2] + hidden + encode("JPEG")[2:]) == 1  # in a preview
    assert jpeg_scans(encode("JPEG", PICTURE, restart_marker_blocks=1)) == 1


@pytest.mark.parametrize("header", [(0xC2,), (0xC0,), (0xCA,)])
def test_A3_a_jpeg_of_too_many_scans_is_refused_from_its_header(header: tuple[int]) -> None:
    limits = MediaLimits(pixels=64 * 64)
    data = many_scans(MOST_SCANS + 1).replace(b"\xff\xc2", bytes((0xFF, *header)), 1)
    with pytest.raises(RequestError, match="31 scans") as refused:
        decode_image(data, limits)
    assert (refused.value.status, refused.value.failure.code) == (413, "media_cost")
    assert decode_image(many_scans(MOST_SCANS), limits).size == (64, 64)


def test_A3_the_picture_of_three_thousand_scans() -> None:
    data = bytearray(many_scans(3000, 16))
    size = data.index(b"\xff\xc2") + 5
    data[size : size + 4] = struct.pack(">HH", 8000, 8000)
    with pytest.raises(RequestError, match="3000 scans of 64000000 pixels"):
        decode_image(bytes(data), LIMITS)


def test_A3_a_picture_in_too_many_pieces() -> None:
    png = encode("PNG")
    with pytest.raises(RequestError, match="pieces"):
        decode_image(png[:33] + chunk(b"IDAT", b"") * 200_000 + png[33:], LIMITS)
    jpeg = encode("JPEG")
    with pytest.raises(RequestError, match="pieces"):
        decode_image(jpeg[:2] + b"\xff\xfe\0\2" * 20_000 + jpeg[2:], LIMITS)


@pytest.mark.parametrize("big", [False, True])
def test_A3_a_tiff_of_too_many_strips(big: bool) -> None:
    data = bytearray(encode("TIFF", big_tiff=big))
    assert tiff_strips(bytes(data)) == 1
    table = int.from_bytes(data[8:16] if big else data[4:8], "little")
    start, step, width = (table + 8, 20, 8) if big else (table + 2, 12, 4)
    at = next(at for at in range(start, len(data), step) if data[at : at + 2] == b"\x11\x01")
    data[at + 4 : at + 4 + width] = (1 << 20).to_bytes(width, "little")
    assert tiff_strips(bytes(data)) == 1 << 20
    with pytest.raises(RequestError) as refused:
        decode_image(bytes(data), LIMITS)
    assert refused.value.failure.kind in ("too_large", "unprocessable_media")
