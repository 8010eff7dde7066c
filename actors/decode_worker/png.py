"""PNG files without what a picture does not need: text, colour profiles and private data, however
damaged or large."""

import struct
import zlib
from collections.abc import Iterator

from ...protocol.errors import too_large

MAGIC = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 1 << 17
"""A file of 256 MiB in chunks of the customary 8 KiB has a quarter of this."""
MOST_INFLATED = 1 << 20
"""Of a text that may say which way up the picture is."""
_ORIENTING = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
_ONE_BY_ONE = struct.pack(">II", 1, 1)
_MOST_PIXEL = 9
"""Bytes of one pixel of four channels of 16 bits, behind its line's filter."""
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")


def plain(data: bytes, animated: bool = False) -> bytes:
    """The same picture with its critical chunks, its transparency and its EXIF data alone.
    `animated`: and its other frames.

    What follows the end is left out; where chunks are cut off, so is the result. Raises
    RequestError for one of no size.
    """
    kept: list[bytes | memoryview] = [MAGIC]
    view, changed = memoryview(data), False
    for kind, start, end in chunks(data):
        if not _needed(kind, data, start, end, animated):
            changed = True
        elif kind == b"tRNS" and (shown := _as_shown(data, data[start + 8 : end - 4])) is not None:
            changed = True
            kept.append(shown)
        else:
            kept.append(view[start:end])
    return b"".join(kept) if changed else data


def one_pixel(data: bytes) -> bytes:
    """The same picture with one pixel of its own kind: what else it says of itself can be read by
    who decodes it, at no cost."""
    kept: list[bytes] = [MAGIC]
    drawn = False
    for kind, start, end in chunks(data):
        if kind == b"IHDR":
            kept.append(_chunk(b"IHDR", _ONE_BY_ONE + data[start + 16 : end - 4]))
        elif kind != b"IDAT":
            kept.append(data[start:end])
        elif not drawn:
            drawn = True
            kept.append(_chunk(b"IDAT", zlib.compress(bytes(_MOST_PIXEL))))
    return b"".join(kept)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _as_shown(data: bytes, clear: bytes) -> bytes | None:
    """The transparency chunk of a picture whose pixels PIL brings to eight bits, and not the colour
    that is `clear`; None of all others. Grey of 16 bits stays as it is."""
    depth, colour = data[24:26].ljust(2, b"\0")
    if (colour, depth) in ((0, 2), (0, 4)):
        scale, numbers = 255 // ((1 << depth) - 1), struct.unpack(">H", clear[:2].ljust(2, b"\0"))
        levels = [(number & ((1 << depth) - 1)) * scale for number in numbers]
    elif (colour, depth) == (2, 16):
        levels = [number >> 8 for number in struct.unpack(">HHH", clear[:6].ljust(6, b"\0"))]
    else:
        return None
    return _chunk(b"tRNS", struct.pack(f">{len(levels)}H", *levels))


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk up to the picture's end or the file's."""
    at = len(MAGIC)
    for _ in range(MOST_CHUNKS):
        kind = data[at + 4 : at + 8]
        if len(kind) < 4:
            return
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end
    raise too_large(f"The picture is in more than {MOST_CHUNKS} pieces.")


def _needed(kind: bytes, data: bytes, start: int, end: int, animated: bool) -> bool:
    if not kind[0] & 0x20:  # a capital: critical
        return True
    if kind in _TEXTS:
        return _orients(kind, data[start + 8 : min(end - 4, start + 8 + MOST_INFLATED)])
    if kind == b"eXIf":
        return end - start <= MOST_INFLATED
    return kind == b"tRNS" or (animated and kind in (b"acTL", b"fcTL", b"fdAT"))


def _orients(kind: bytes, body: bytes) -> bool:
    """Whether a text may hold the orientation and can be read."""
    name = next((name for name in _ORIENTING if body.startswith(name)), None)
    if name is None:
        return False
    rest = body[len(name) :]
    if kind == b"tEXt":
        return True
    if kind == b"iTXt":
        packed, fields = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
        rest = fields[-1]
        if len(fields) < 3 or not packed:
            return len(fields) == 3
    else:
        rest = rest[1:]
    try:
        inflater = zlib.decompressobj()
        inflater.decompress(rest, MOST_INFLATED - 1)
    except zlib.error:
        return False
    return inflater.eof
