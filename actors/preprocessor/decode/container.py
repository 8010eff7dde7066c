"""Containers of sound and moving pictures: opened from memory only, by content, with one demuxer from a short list."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av

from ....protocol.errors import refuse

VIDEO_FORMATS = frozenset({"mp4", "matroska", "avi", "gif"})
AUDIO_FORMATS = frozenset({"mp4", "matroska", "wav", "flac", "ogg", "mp3", "aac"})

av.logging.set_level(None)  # FFmpeg's lines about damaged media belong to a request, not to the log


def sniff(data: bytes) -> str | None:
    """The demuxer for these bytes, by their beginning: mov and m4a are `mp4`, webm is `matroska`."""
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mp4"
    if data[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    if data[:4] in (b"RIFF", b"RF64"):
        return {b"AVI ": "avi", b"WAVE": "wav"}.get(data[8:12])
    for magic, name in ((b"GIF8", "gif"), (b"fLaC", "flac"), (b"OggS", "ogg"), (b"ID3", "mp3")):
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
