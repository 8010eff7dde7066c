"""Containers of sound and moving pictures: opened from memory only, by content, with one demuxer from a short list."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av

from ....protocol.errors import refuse

VIDEO_FORMATS = frozenset({"mp4", "matroska", "avi", "gif"})
AUDIO_FORMATS = frozenset({"mp4", "matroska", "avi", "wav", "flac", "ogg", "mp3", "aac", "aiff", "au", "caf"})

av.logging.set_level(None)  # FFmpeg's lines about damaged media belong to a request, not to the log


def sniff(data: bytes) -> str | None:
    """The demuxer for these bytes, by their beginning: mov and m4a are `mp4`, webm is `matroska`."""
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mp4"
    if data[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if data[:4] in (b"RIFF", b"RF64"):
        return {b"AVI ": "avi", b"WAVE": "wav"}.get(data[8:12])
    for magic, name in (
        (b"GIF8", "gif"),
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
        (b"ID3", "mp3"),
        (b".snd", "au"),
        (b"caff", "caf"),
    ):
        if data.startswith(magic):
            return name
    if len(data) > 2 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:
        return "aac"
    if len(data) > 2 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:
        return "mp3"
    return None


@contextmanager
def open_container(data: bytes, allowed: frozenset[str], refusal: str) -> Iterator[Any]:
    """An open input container. FFmpeg's errors, here and within the block, end as RequestError `refusal`."""
    name = sniff(data)
    if name not in allowed:
        raise refuse("unprocessable_media", refusal)
    try:
        with av.open(io.BytesIO(data), mode="r", format=name) as container:
            yield container
    except (av.error.FFmpegError, UnicodeDecodeError) as error:
        if isinstance(error, MemoryError):
            raise
        raise refuse("unprocessable_media", refusal) from error


def seconds_of(container: Any, stream: Any) -> float | None:
    """What the headers say of the length; they may lie."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration is not None else None


def cut_off(data: bytes) -> bool:
    """Whether the container says that it is longer than what has come. One that does not state its length counts as whole."""
    match sniff(data):
        case "mp4":
            at = 0
            while at + 8 <= len(data):
                size = int.from_bytes(data[at : at + 4], "big")
                if size == 1:
                    size = int.from_bytes(data[at + 8 : at + 16], "big")
                if size < 8:  # 0: to the end of the file
                    return False
                at += size
            return at > len(data)
        case "avi":
            size = int.from_bytes(data[4:8], "little")
            return 0 < size < 0x7FFFF000 and size + 8 > len(data) + 1  # a writer that cannot go back leaves all ones
        case "matroska":
            return _ends_behind(data, _ends_behind(data, 0)) > len(data)  # the header, then the one segment
        case "gif":
            return b"\x3b" not in data[-64:]
        case _:
            return False


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
