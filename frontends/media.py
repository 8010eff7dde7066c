"""Media as callers send them: data: URLs are decoded here, http(s): and file: URLs go to the fetcher as they are.

The bytes stay outside shared memory until the whole request has been read and accepted: then `place` puts them in. A refused
request leaves nothing behind.
"""

import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ..protocol.blobs import BlobRef, Bytes
from ..protocol.errors import refuse
from ..protocol.request import Encoded, FrameList, MediaItem, Modality, Source, Url
from .clip_facts import read_facts

MAX_ITEM_BYTES = 256 << 20
"""Decoded bytes of one item; a download has the same limit."""
SLICE = 1 << 18
"""Base64 characters decoded at once; a multiple of four."""
SCHEMES = ("http", "https", "data", "file")


class Raw(NamedTuple):
    """Media that are no file: pixels, frames, samples, embeddings. `source` describes them once they are in shared memory."""

    data: Bytes
    dtype: str
    shape: tuple[int, ...]
    source: Callable[[BlobRef], Source]


class Pending(NamedTuple):
    """One item of a request that is still being read; `content` is None if only `uuid` was given."""

    modality: Modality
    content: bytes | Raw | Url | None
    where: str
    uuid: str | None = None

    @property
    def nbytes(self) -> int:
        """What it takes in shared memory."""
        match self.content:
            case bytes(data) | Raw(data=data):
                return len(data)
            case _:
                return 0


class Arena(Protocol):
    """Where the bytes go: the client's media store."""

    def put_bytes(self, data: Bytes, dtype: str = "uint8", shape: tuple[int, ...] | None = None) -> BlobRef: ...

    def drop_bytes(self, blob: BlobRef) -> None: ...


def read_url(url: str, modality: Modality, where: str, about: Mapping[str, Any] | None = None) -> bytes | Raw | Url:
    """`about`: what the caller says about a list of frames.

    Raises RequestError: 400 if it is not a URL of a known kind, 413 if it is too large.
    """
    scheme, colon, rest = url.partition(":")
    kind = scheme.strip().lower()
    if not colon or kind not in SCHEMES:
        raise refuse("invalid_request", "The URL must be an HTTP, data or file URL.", where, "invalid_url")
    if kind != "data":
        return Url(url)
    header, comma, data = rest.partition(",")
    media_type, *options = header.lower().split(";")
    if not comma or "base64" not in (option.strip() for option in options):
        raise refuse("invalid_request", "Only base64 data URLs are supported: data:<type>;base64,<data>.", where, "invalid_url")
    if modality == "video" and media_type.strip() == "video/jpeg":
        return read_frames(data, read_facts(about or {}, where), where)
    return read_base64(data, where)


def read_frames(data: str, facts: dict[str, Any], where: str) -> Raw:
    """A clip as base64 pictures, separated by commas."""
    if len(data) // 4 * 3 > MAX_ITEM_BYTES:
        raise refuse("too_large", f"The media is larger than {MAX_ITEM_BYTES >> 20} MiB.", where, "media_too_large")
    frames = [read_base64(frame.strip(), where) for frame in data.split(",")]
    whole = b"".join(frames)
    sizes = tuple(len(frame) for frame in frames)
    return Raw(whole, "uint8", (len(whole),), lambda blob: FrameList(blob, sizes, **facts))


def read_base64(data: str, where: str) -> bytes:
    """Strict: no characters outside the alphabet, correct padding and nothing after it. Size is checked before decoding."""
    if len(data) // 4 * 3 > MAX_ITEM_BYTES:
        raise refuse("too_large", f"The media is larger than {MAX_ITEM_BYTES >> 20} MiB.", where, "media_too_large")
    try:
        if "=" in data[:-2]:
            raise binascii.Error("padding before the end")
        # In slices, each of which holds the interpreter's lock for a millisecond.
        slices = (data[start : start + SLICE] for start in range(0, len(data), SLICE))
        content = b"".join(binascii.a2b_base64(piece, strict_mode=True) for piece in slices)
    except ValueError:  # binascii.Error, and characters outside ASCII
        raise refuse("invalid_request", "The data is not valid base64.", where, "invalid_base64") from None
    if not content:
        raise refuse("invalid_request", "The data is empty.", where, "empty_media")
    return content


def place(pending: Sequence[Pending], arena: Arena) -> tuple[MediaItem, ...]:
    """Put the bytes into shared memory. If an item does not fit (RequestError), those before it are given back."""
    items: list[MediaItem] = []
    blobs: list[BlobRef] = []
    try:
        for item in pending:
            source: Source | None
            match item.content:
                case bytes(data):
                    blobs.append(arena.put_bytes(data))
                    source = Encoded(blobs[-1])
                case Raw(data, dtype, shape, wrap):
                    blobs.append(arena.put_bytes(data, dtype, shape))
                    source = wrap(blobs[-1])
                case content:
                    source = content
            items.append(MediaItem(item.modality, source, item.where, item.uuid))
    except BaseException:
        for blob in blobs:
            arena.drop_bytes(blob)
        raise
    return tuple(items)
