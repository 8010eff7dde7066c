"""Media as callers send them: data: URLs are decoded here, http(s): and file: URLs go to the
fetcher. The bytes stay outside shared memory until `place`, when the whole request has been read: a
refused one leaves nothing behind."""

import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from ...protocol.errors import invalid, refuse
from ...protocol.memory.blobs import BlobRef, Bytes
from ...protocol.requests.document import DocumentOptions
from ...protocol.requests.request import Encoded, FrameList, MediaItem, Modality, Source, Url
from .base64_text import Base64Error, SizeError, decode_into
from .clip_metadata import read_facts

MAX_ITEM_BYTES = 256 << 20
"""Decoded bytes of one item; a download has the same limit."""
SCHEMES = ("http", "https", "data", "file")
LONGEST_SCHEME, LONGEST_HEADER = 64, 1 << 10
"""Characters in which a URL's colon is looked for, and behind it a data URL's comma."""
FILED = "filed"
"""The scheme of our own for what a caller has uploaded. `read_url` takes none such, so no caller
can write one; the server puts the file's bytes in its place before it submits."""
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_MAGIC = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "AAAA": "video/mp4",
}
_USUAL: dict[Modality, str] = {
    "image": "image/jpeg",
    "video": "video/mp4",
    "audio": "audio/wav",
    "document": "application/pdf",
}
"""Media types: of the first characters of some files in base64, and what is likely otherwise."""


class Raw(NamedTuple):
    """Media that are no file (pixels, samples, ...). `source` makes them of shared memory."""

    data: Bytes
    dtype: str
    shape: tuple[int, ...]
    source: Callable[[BlobRef], Source]


class Pending(NamedTuple):
    """An item of a request that is being read; `content` is None where only `uuid` was given."""

    modality: Modality
    content: bytes | Raw | Url | None
    where: str
    uuid: str | None = None
    options: Mapping[str, Any] = MappingProxyType({})
    """Its own, of the model's processor; they go before the request's."""
    document: DocumentOptions | None = None
    """What is wanted of it, where it is one."""

    @property
    def nbytes(self) -> int:
        """What it takes in shared memory."""
        match self.content:
            case bytes(data) | Raw(data=data):
                return len(data)
            case _:
                return 0


class BlobStore(Protocol):
    """Where the bytes go: the client's media store."""

    def put_bytes(
        self, data: Bytes, dtype: str = "uint8", shape: tuple[int, ...] | None = None
    ) -> BlobRef: ...

    def drop_bytes(self, blob: BlobRef) -> None: ...

    def adopt(self, blobs: Sequence[BlobRef]) -> None: ...


def filed(id: str) -> Url:
    """Stands for an uploaded file, until it is resolved."""
    return Url(f"{FILED}:{id}")


def filed_id(content: object) -> str | None:
    """The id of an uploaded file, if that is what `content` stands for."""
    if not (isinstance(content, Url) and content.url.startswith(f"{FILED}:")):
        return None
    return content.url.removeprefix(f"{FILED}:")


def read_url(
    url: str, modality: Modality, where: str, about: Mapping[str, Any] | None = None
) -> bytes | Raw | Url:
    """`about`: what is said of a list of frames. Raises RequestError: 400 for no URL, 413."""
    colon = url.find(":", 0, LONGEST_SCHEME)
    kind = url[: max(0, colon)].strip().lower()
    if kind not in SCHEMES:
        raise invalid(_no_url(url, modality), where, "invalid_url")
    if kind != "data":
        return Url(url)
    comma = url.find(",", colon, colon + LONGEST_HEADER)
    media_type, *options = url[colon + 1 : max(0, comma)].lower().split(";")
    if comma < 0 or "base64" not in (option.strip() for option in options):
        raise invalid(
            "Only base64 data URLs are supported: data:<type>;base64,<data>.", where, "invalid_url"
        )
    if modality == "video" and media_type.strip() == "video/jpeg":
        return read_frames(url, read_facts(about or {}, where), where, comma + 1)
    content = BytesIO()
    _append(content, url, where, comma + 1, None, True)
    return content.getvalue()


def read_frames(data: str, facts: dict[str, Any], where: str, start: int = 0) -> Raw:
    """A clip as base64 pictures from `start` on, separated by commas."""
    content = BytesIO()
    sizes: list[int] = []
    while start <= len(data):
        end = data.find(",", start)
        end = len(data) if end < 0 else end
        before = content.tell()
        _append(content, data, where, start, end, True, f"Frame {len(sizes)}")
        sizes.append(content.tell() - before)
        start = end + 1
    whole, each = content.getvalue(), tuple(sizes)
    return Raw(whole, "uint8", (len(whole),), lambda blob: FrameList(blob, each, **facts))


def read_base64(data: str | bytes, where: str) -> bytes:
    """By the forgiving decode of the Fetch standard. Raises RequestError 400, 413."""
    content = BytesIO()
    _append(content, data, where, 0, None, False)
    return content.getvalue()


def read_encoded(text: str, modality: Modality, where: str) -> bytes:
    """Base64, alone or within a `data:` URL. Raises RequestError as `read_base64` does."""
    start = text[:LONGEST_SCHEME].lstrip().lower()
    if start.startswith("data:"):
        content = read_url(text, modality, where)
        if isinstance(content, bytes):
            return content
        raise invalid("A list of frames is given as video_url.", where, "invalid_url")
    if start.startswith(("http:", "https:", "file:")):
        elsewhere = (
            "" if modality == "prompt" else f"; a URL is given in a part of type {modality}_url"
        )
        text = f"Here the data itself is wanted, as base64{elsewhere}."
        raise invalid(text, where, "invalid_base64")
    return read_base64(text, where)


def _append(
    content: BytesIO,
    data: str | bytes,
    where: str,
    start: int,
    end: int | None,
    escaped: bool,
    what: str = "The data",
) -> None:
    """Decode data[start:end], which must not be nothing. Raises RequestError."""
    before = content.tell()
    try:
        decode_into(content, data, MAX_ITEM_BYTES, start, end, escaped)
    except SizeError:
        text = f"The media is larger than {MAX_ITEM_BYTES >> 20} MiB."
        raise refuse("too_large", text, where, "media_too_large") from None
    except Base64Error as error:
        raise invalid(f"{what} is not valid base64: {error}.", where, "invalid_base64") from None
    if content.tell() == before:
        raise invalid(f"{what} is empty.", where, "empty_media")


def _no_url(text: str, modality: Modality) -> str:
    """What to write instead; base64 without its frame is the usual mistake."""
    head = "".join(text[:64].split())
    if len(head) < 16 or not _BASE64.fullmatch(head):
        return "The URL must be an HTTP, data or file URL."
    seen = (
        kind
        for magic, kind in _MAGIC.items()
        if head.startswith(magic) and kind.startswith(modality)
    )
    media_type = next(seen, _USUAL[modality])
    return (
        f"This is base64 without the frame of a URL: write data:{media_type};base64,<the base64>."
    )


def place(pending: Sequence[Pending | MediaItem], arena: BlobStore) -> tuple[MediaItem, ...]:
    """Put the bytes into shared memory, or adopt those that their reader has written there. If an
    item does not fit (RequestError), those before it are given back."""
    items: list[MediaItem] = []
    blobs: list[BlobRef] = []
    try:
        for written in _written(pending):
            arena.adopt(written)
            blobs += written
        for item in pending:
            items.append(item if isinstance(item, MediaItem) else _placed(item, arena, blobs))
    except BaseException:
        for blob in blobs:
            arena.drop_bytes(blob)
        raise
    return tuple(items)


def _placed(item: Pending, arena: BlobStore, blobs: list[BlobRef]) -> MediaItem:
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
    options = dict(item.options)
    return MediaItem(item.modality, source, item.where, item.uuid, options, document=item.document)


def _written(pending: Sequence[Pending | MediaItem]) -> list[list[BlobRef]]:
    """By draft."""
    drafts: dict[str, list[BlobRef]] = {}
    for item in pending:
        if isinstance(item, MediaItem) and not isinstance(item.source, Url | None):
            drafts.setdefault(item.source.blob.segment, []).append(item.source.blob)
    return list(drafts.values())
