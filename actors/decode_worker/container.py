"""Containers of sound and moving pictures: opened from memory only, by content, with one demuxer
from a short list."""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av

from ...protocol.errors import undecodable
from .sniff import sniff

av.logging.set_level(None)  # FFmpeg's lines about damaged media belong to a request, not to the log

_NEEDED = (b"moov", b"mdat", b"moof")
"""Boxes that must be whole; what is cut off of any other is not missed."""
_UPRIGHT = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_MOST_BOXES = 1 << 20
"""At the top of a file; a fragment is two."""


@contextmanager
def open_container(data: bytes, allowed: frozenset[str], refusal: str) -> Iterator[Any]:
    """An open input container. FFmpeg's errors, here and within the block, end as RequestError
    `refusal`."""
    name = sniff(data)
    if name not in allowed:
        raise undecodable(refusal)
    try:
        whole = _without_trailer(data) if name == "mp4" else data
        with av.open(io.BytesIO(whole), mode="r", format=name) as container:
            yield container
    except MemoryError:  # FFmpeg's is one, too
        raise
    except (av.error.FFmpegError, UnicodeDecodeError, IndexError) as error:
        raise undecodable(refusal) from error  # the last: a stream that begins in the middle


def seconds_of(container: Any, stream: Any) -> float | None:
    """What the headers say of the length; they may lie."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration is not None else None


def cut_off(data: bytes) -> bool:
    """Whether the container says that it is longer than what has come. One that does not state its
    length counts as whole."""
    match sniff(data):
        case "mp4":
            return ends_behind_file(data)
        case "avi":
            size = int.from_bytes(data[4:8], "little")
            # A writer that cannot go back leaves all ones.
            return 0 < size < 0x7FFFF000 and size + 8 > len(data) + 1
        case "matroska":  # the header, then the one segment
            return _ends_behind(data, _ends_behind(data, 0)) > len(data)
        case "gif":
            return b"\x3b" not in data[-64:]
        case _:
            return False


def ends_behind_file(data: bytes) -> bool:
    """Of an MP4 or a picture in such a file."""
    return any(kind in _NEEDED and end > len(data) for kind, end in _boxes(data))


def ends_within(data: bytes) -> bool:
    """Whether a broadcast or an FLV, which do not state their length, ends in the middle of a
    piece."""
    match sniff(data):
        case "mpegts":
            step = next((step for step in (188, 204) if data[step : step + 1] == b"G"), 192)
            return len(data) % step > 0
        case "flv":
            at = int.from_bytes(data[5:9], "big") + 4
            while at < len(data):
                at += 15 + int.from_bytes(data[at + 1 : at + 4], "big")
            return at > len(data)
        case _:
            return False


def turned(data: bytes, track: int) -> bool:
    """Whether an MP4 says of its track of this number that it is shown on its side. Raises
    LookupError where it says what a header alone does not tell."""
    for kind, start, end in _inner(data, 0, len(data)):
        if kind != b"moov":
            continue
        for name, first, last in _inner(data, start, end):
            if name == b"mvhd" and data[last - 64 : last - 28] != _UPRIGHT:
                raise LookupError
            for part, at, to in _inner(data, first, last) if name == b"trak" else ():
                wide = 8 if data[at : at + 1] == b"\1" else 4
                number = int.from_bytes(data[at + 4 + 2 * wide : at + 8 + 2 * wide], "big")
                if part == b"tkhd" and number == track:
                    a, b, _, c, d = struct.unpack_from(">5i", data[to - 44 : to - 8])
                    return bool(max(abs(b), abs(c)) > max(abs(a), abs(d)))
    return False


def _inner(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each box within, and where its content begins and ends."""
    for _ in range(_MOST_BOXES):
        if at + 8 > end:
            return
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        after = min(end, at + size) if size else end
        if after < at + head:
            return
        yield kind, at + head, after
        at = after


def _boxes(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Kind and end of each box at the top of an MP4, up to what is none: a camera's own trailer,
    say."""
    at = 0
    for _ in range(_MOST_BOXES):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if not kind.isalnum() or 0 < size < 8:
            return
        at = at + size if size else len(data)  # without a size it goes to the end of the file
        yield kind, at


def _without_trailer(data: bytes) -> bytes:
    """The boxes of an MP4 alone. One that is cut off and needed is kept, for its damage to be
    found."""
    end = 0
    for kind, after in _boxes(data):
        if after > len(data):
            return data if kind in _NEEDED else data[:end]
        end = after
    return data[:end] if end else data


def _ends_behind(data: bytes, at: int) -> int:
    """Where the EBML element at `at` ends; 0 where it does not say."""
    at += _width(data, at)
    wide = _width(data, at)
    if not wide or at + wide > len(data):
        return 0
    size = int.from_bytes(data[at : at + wide], "big") & ((1 << 7 * wide) - 1)
    return 0 if size == (1 << 7 * wide) - 1 else at + wide + size


def _width(data: bytes, at: int) -> int:
    """Bytes of the number at `at`, told by its leading zeros."""
    return 9 - data[at].bit_length() if at < len(data) and data[at] else 0
