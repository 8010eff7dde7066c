"""What makes two items the same: digest of the content, and the key that adds every option which
changes the features.

The shell computes both to find an item that it has or that is being decoded; the worker computes
them again over the bytes that it has copied, so that an embedding is never filed under a digest of
other bytes.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256, sha512
from typing import Any, NamedTuple

import msgspec
from blake3 import blake3

from ...protocol.edges.decode_worker_to_preprocessor import Decoded
from ...protocol.errors import Failure, refuse
from ...protocol.memory.blobs import BlobRef, Bytes
from ...protocol.requests.request import (
    CLIP_FACTS,
    Embeds,
    Encoded,
    FrameList,
    Frames,
    MediaItem,
    Modality,
    PackedEmbeds,
    Page,
    Piece,
    Pixels,
    Samples,
    Source,
    Url,
)

HASHERS: dict[str, Callable[..., Any]] = {"blake3": blake3, "sha256": sha256, "sha512": sha512}
KEY_VERSION = "2"
"""Changes when this package computes other features from the same bytes and options."""
BYTES_LOST = Failure(
    "restarted", "The item's bytes went with a process that was restarted; send the request again."
)


def blob_of(source: Source) -> BlobRef:
    if isinstance(source, Url):
        raise refuse("internal", "An item came without its bytes.")
    return source.blob


def content_digest(hasher: str, source: Source, data: Bytes) -> str:
    """Of encoded media the digest of the bytes alone; of decoded ones also of shape, type, mode and
    rate."""
    digest = HASHERS[hasher]()
    if isinstance(source, Page):
        digest.update(data)
        return page_digest(hasher, source, str(digest.hexdigest()))
    if isinstance(source, Piece):
        digest.update(data)
        return piece_digest(hasher, source, str(digest.hexdigest()))
    if not isinstance(source, Encoded):
        blob = blob_of(source)
        about: list[Any] = [type(source).__name__, blob.dtype, blob.shape]
        match source:
            case Pixels(_, mode):
                about.append(mode)
            case Samples(_, rate):
                about.append(rate)
            case Frames():
                about += [getattr(source, fact) for fact in CLIP_FACTS]
            case FrameList(sizes=sizes):
                about += [sizes, *(getattr(source, fact) for fact in CLIP_FACTS)]
            case Embeds(_, grid):
                about.append(grid)
            case PackedEmbeds(_, grid, grid_bytes):
                about += [grid, grid_bytes]
        digest.update(json.dumps(about).encode())
    digest.update(data)
    return str(digest.hexdigest())


def known_digest(hasher: str, item: MediaItem) -> str | None:
    """What `content_digest` would say, where whoever has put the bytes there has said it."""
    name, _, digest = (item.digest or "").partition(":")
    if name != hasher:
        return None
    if isinstance(item.source, Piece):
        return piece_digest(hasher, item.source, digest)
    return digest if isinstance(item.source, Encoded) else None


def page_digest(hasher: str, page: Page, document: str) -> str:
    """`document`: the digest of the whole."""
    about = json.dumps(["Page", document, page.number, page.width, page.height])
    return str(HASHERS[hasher](about.encode()).hexdigest())


def piece_digest(hasher: str, piece: Piece, sound: str) -> str:
    """`sound`: the digest of the whole."""
    about = json.dumps(["Piece", sound, *msgspec.structs.astuple(piece.stretch)])
    return str(HASHERS[hasher](about.encode()).hexdigest())


@lru_cache(maxsize=1024)
def key_salt(tenant: str, fingerprint: str, era: str = "") -> str:
    """What, beside content and options, an embedding belongs to. `era`: another one when the caches
    of media have been emptied, so that what requests in progress still hold is found by no later
    one."""
    return json.dumps([tenant, fingerprint, KEY_VERSION + era])


def look_salt(salt: str) -> str:
    """Of what an item looks like by its headers, which is kept apart from its features."""
    return f"look {salt}"


def id_name(hasher: str, tenant: str, uuid: str) -> str:
    """What a caller's id is called on disk, hex."""
    return blake3(json.dumps(["id", hasher, tenant, uuid]).encode()).hexdigest()


def pin_name(tenant: str, file: str) -> str:
    """What a stored file is called by what it keeps on disk, hex."""
    return blake3(json.dumps(["pin", tenant, file]).encode()).hexdigest()


class ItemOptions(NamedTuple):
    """What an item's features depend on beside its content: options of the processor, options of
    reading, and whose they are."""

    processor: dict[str, Any]
    io: dict[str, Any]
    salt: str


def item_key(
    digest: str, modality: Modality, processor: dict[str, Any], io: dict[str, Any], salt: str
) -> str:
    """Identity of the embedding, hex."""
    about = json.dumps([digest, modality, processor, io, salt], sort_keys=True)
    return blake3(about.encode()).hexdigest()


def named(item: Decoded, key: str) -> Decoded:
    """The same item under another key."""
    keys = part_keys(key, len(item.parts))
    parts = tuple(
        msgspec.structs.replace(part, key=own) for part, own in zip(item.parts, keys, strict=True)
    )
    return msgspec.structs.replace(item, key=key, parts=parts)


def part_keys(key: str, parts: int) -> tuple[str, ...]:
    """Identities of the embeddings of an item's parts, hex; of its only one it is the item's
    own."""
    return (key, *(blake3(f"{key} {part}".encode()).hexdigest() for part in range(1, parts)))
