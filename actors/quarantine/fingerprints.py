"""What makes two requests the same work, so that what one is refused for, the next need not die of.
The seed never is part of it: it is drawn anew for each."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec

from ...protocol.memory.blobs import BlobRef, Bytes
from ...protocol.requests.guide import Guide
from ...protocol.requests.prepared import Prepared
from ...protocol.requests.request import MediaItem, Request, Url
from ...protocol.requests.sampling import SamplingParams

Read = Callable[[BlobRef], Bytes]
"""The bytes of a blob."""


def outline(request: Request) -> str:
    """Equal for two requests that are the same work, apart from the bytes of their media."""
    return _digest(_as_asked(request)).hexdigest()


def fingerprint(request: Request, read: Read) -> str:
    """Equal for two requests that are the same work, whichever client sends them."""
    digest = _digest(_as_asked(request))
    for item in request.media:
        if item.source is not None and not isinstance(item.source, Url):
            digest.update(read(item.source.blob))
    return digest.hexdigest()


def fingerprint_of_prepared(prepared: Prepared) -> str:
    """Equal for two requests that are the same work for the actors behind the scheduler."""
    keys = [item.key for item in prepared.items]
    return _digest(
        (prepared.token_ids, keys, _without_chance(prepared.sampling), prepared.pooling)
    ).hexdigest()


def _without_chance(sampling: SamplingParams) -> SamplingParams:
    """Without the seed, and how long a guide took to be measured: that says nothing of who asks."""
    guide = sampling.guide
    plain = None if guide is None else Guide(guide.kind, guide.text)
    return msgspec.structs.replace(sampling, seed=0, structured_outputs=plain)


def _as_asked(request: Request) -> Any:
    media = [_described(item) for item in request.media]
    sampling = _without_chance(request.sampling)
    return (
        request.prompt,
        media,
        sampling,
        request.pooling,
        request.mm_processor_kwargs,
        request.media_io_kwargs,
    )


def _described(item: MediaItem) -> Any:
    source = item.source
    if source is None or isinstance(source, Url):
        return item.modality, item.uuid, item.options, item.document, source
    blob = BlobRef("", 0, source.blob.dtype, source.blob.shape)
    bare = msgspec.structs.replace(source, blob=blob)
    return item.modality, item.uuid, item.options, item.document, bare


def _digest(work: Any) -> "blake2b":
    return blake2b(msgspec.msgpack.encode(work, order="deterministic"), digest_size=32)
