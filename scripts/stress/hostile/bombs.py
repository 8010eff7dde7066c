"""Files written by hand, since no encoder would: headers that claim too much, bombs, scans without
end, and no media."""

import gzip
import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from random import Random

from .files import huge_wav, many_pixels, real

Bomb = Callable[[Random], tuple[str, bytes]]
"""Gives its words and the file."""
PNG = b"\x89PNG\r\n\x1a\n"
MOST = 40_000_000
"""Bytes into which a chunk inflates."""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_header(draw: Random) -> tuple[str, bytes]:
    sides = [draw.choice((0, 1, 20_000, 65_535, 1 << 24, (1 << 31) - 1, 1 << 31)) for _ in range(2)]
    depth, colour, interlaced = (
        draw.choice((1, 8, 16, 7)),
        draw.choice((0, 2, 3, 6, 5)),
        draw.choice((0, 1)),
    )
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", *sides, depth, colour, 0, 0, interlaced))
    lines = zlib.compress(bytes(draw.choice((10, 1_000_000))), 9)
    return f"png of {sides[0]}x{sides[1]}", PNG + head + _chunk(b"IDAT", lines) + _chunk(
        b"IEND", b""
    )


def _png_chunks(draw: Random) -> tuple[str, bytes]:
    """Text or a profile that inflates far, or very many chunks, before the pixels of a good
    picture."""
    good, size = real("png"), draw.randint(1000, MOST)
    inflating = zlib.compress(bytes(size), 9)
    kind, data = draw.choice((
        (b"zTXt", b"a\0\0" + inflating), (b"iCCP", b"a\0\0" + inflating),
        (b"iTXt", b"a\0\1\0\0\0" + inflating),
        (b"tEXt", b"a\0" + b"b" * min(size, 2_000_000)), (b"eXIf", bytes(min(size, 200_000))),
        (b"acTL", b"\xff" * 8),
    ))  # fmt: skip
    count = draw.choice((1, 1, 30, 5000 if len(data) < 5000 else 3))
    return f"png with {count} {kind.decode()}", good[:33] + _chunk(kind, data) * count + good[33:]


def _png_lines(draw: Random) -> tuple[str, bytes]:
    """Pixels of a legal number, and far more data than they need."""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
    data = zlib.compress(bytes(draw.randint(10_000, MOST)), 9)
    return "png with too many lines", PNG + head + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _scans(draw: Random) -> tuple[str, bytes]:
    """A progressive JPEG whose last scan comes again and again."""
    side = draw.choice((64, 500, 2000, 6000))
    data = many_pixels(draw, side, "JPEG")
    last = data.rfind(b"\xff\xda")
    scan = data[last:-2]
    times = min(draw.choice((10, 300, 3000)), 8_000_000 // max(1, len(scan)))
    return f"jpeg of {side} with {times} more scans", data[:-2] + scan * times + data[-2:]


def _jpeg_sides(draw: Random) -> tuple[str, bytes]:
    data = bytearray(real(draw.choice(("jpeg", "progressive"))))
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    data[at + 5 : at + 9] = struct.pack(
        ">HH", *(draw.choice((0, 1, 65_535, 30_000)) for _ in range(2))
    )
    return "jpeg of other sides", bytes(data)


def _gif(draw: Random) -> tuple[str, bytes]:
    """Many frames on a large screen."""
    side, frames = draw.choice((1, 1000, 8000, 65_535)), draw.choice((1, 50, 3000))
    head = b"GIF89a" + struct.pack("<HH", side, side) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    frame = (
        b"\x21\xf9\4\0\x0a\0\0\0" + b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\2\2\x44\1\0"
    )
    return f"gif of {side} with {frames} frames", head + frame * frames + b"\x3b"


def _bmp(draw: Random) -> tuple[str, bytes]:
    sides = [draw.choice((1, -1, 30_000, (1 << 31) - 1, -(1 << 31))) for _ in range(2)]
    head = struct.pack(
        "<IiiHHIIiiII",
        40,
        *sides,
        1,
        draw.choice((1, 8, 24, 32)),
        draw.choice((0, 1, 2, 3)),
        0,
        0,
        0,
        1 << 30,
        0,
    )
    return f"bmp of {sides[0]}x{sides[1]}", b"BM" + struct.pack(
        "<IHHI", 1 << 30, 0, 0, 54
    ) + head + bytes(1000)


def _tiff(draw: Random) -> tuple[str, bytes]:
    """Directories that point at themselves, and counts without end."""
    entry = struct.pack(
        "<HHII", draw.choice((256, 273, 279, 258)), 4, draw.choice((1, 1 << 31, 100_000_000)), 8
    )
    return "tiff that points at itself", b"II*\0\x08\0\0\0" + struct.pack(
        "<H", 200
    ) + entry * 200 + struct.pack("<I", 8)


def _many_pixels(draw: Random) -> tuple[str, bytes]:
    side, kind = (
        draw.choice((3000, 9000, 14_000)),
        draw.choice(("PNG", "JPEG", "GIF", "BMP" if draw.random() < 0.1 else "PNG")),
    )
    return f"{kind.lower()} of {side}", many_pixels(draw, side, kind)


def _boxes(draw: Random) -> tuple[str, bytes]:
    """mp4 boxes of sizes that cannot be, deep in each other, or very many."""
    kind = draw.choice((b"moov", b"free", b"mdat", b"trak", b"uuid"))
    match draw.randrange(4):
        case 0:
            size = draw.choice((0, 1, 7, 8, 1 << 31, (1 << 32) - 1))
            return "mp4 with an impossible box", real("mp4")[:32] + struct.pack(
                ">I", size
            ) + kind + real("mp4")[32:]
        case 1:
            return "mp4 with a 64-bit box", real("mp4")[
                :32
            ] + b"\0\0\0\1" + kind + b"\x7f" + b"\xff" * 7 + real("mp4")[32:]
        case 2:
            data = b""
            for _ in range(draw.choice((50, 3000))):
                data = struct.pack(">I", len(data) + 8) + kind + data
            return "mp4 with deep boxes", real("mp4")[:32] + data
    return "mp4 with many boxes", real("mp4")[:32] + (b"\0\0\0\x08" + kind) * draw.choice(
        (1000, 300_000)
    )


def _tables(draw: Random) -> tuple[str, bytes]:
    """The number of entries of one of an mp4's tables."""
    data = bytearray(real(draw.choice(("mp4", "mov", "m4a"))))
    found = data.find(
        draw.choice((b"stts", b"stsz", b"stco", b"stsc", b"mvhd", b"mdhd", b"elst", b"tkhd"))
    )
    if found > 0:
        data[found + 8 : found + 16] = draw.choice(
            (b"\xff" * 8, b"\x7f" + b"\xff" * 7, bytes(8), b"\0\xff\xff\xff" * 2)
        )
    return "mp4 with another table", bytes(data)


def _sound_claims(draw: Random) -> tuple[str, bytes]:
    data = bytearray(huge_wav(draw.choice((0xFFFFFFFF, 1 << 31, 1 << 20))))
    at, values = draw.choice(
        ((22, (0, 2, 65_535)), (24, (0, 1, 768_000, 0xFFFFFFFF)), (34, (0, 1, 24, 65_535)))
    )
    width = 4 if at == 24 else 2
    data[at : at + width] = draw.choice(values).to_bytes(width, "little")
    return "wav with impossible claims", bytes(data) + bytes(draw.choice((0, 1000, 2_000_000)))


def _no_media(draw: Random) -> tuple[str, bytes]:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", bytes(5_000_000))
    laughs = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
    svg = (
        f'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY l0 "ha">{laughs}]><svg '
        f'xmlns="http://www.w3.org/2000/svg">&l9;</svg>'
    )
    playlist = (
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
    )
    concat = "ffconcat version 1.0\nfile /etc/hostname\n"
    return draw.choice((
        ("a zip", archive.getvalue()), ("svg of laughs", svg.encode()),
        ("a playlist", playlist.encode()), ("gzip",
        gzip.compress(bytes(9_000_000))),
        ("ffconcat", concat.encode()), ("html", b"<html>" * 100), ("nothing", b""),
        ("a byte", b"\xff"), ("noise",
        draw.randbytes(5000)),
        ("postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 "
        b"9 9\n(/etc/passwd) (r) file\n"), ("zeros",
        bytes(1_000_000)),
        ("an executable", b"\x7fELF" + bytes(5000)), ("pdf", b"%PDF-1.4\n" * 500),
        ("text", b"hello " * 1000),
    ))  # fmt: skip


BOMBS: tuple[Bomb, ...] = (
    _png_header, _png_chunks, _png_lines, _scans, _jpeg_sides, _gif, _bmp, _tiff, _many_pixels,
    _boxes, _tables,
    _sound_claims, _no_media,
)  # fmt: skip
