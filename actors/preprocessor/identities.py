"""What content each item of a request is: that of its bytes, or that which its id is bound to."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from ...protocol.bounded import Bounded
from ...protocol.errors import RequestError, invalid, refuse
from ...protocol.memory.blobs import BlobError, BlobReader
from ...protocol.memory.shortage import shortage
from ...protocol.requests.document import HEAD, is_pdf
from ...protocol.requests.request import MediaItem, Page, Request
from ..jobs.identity import BYTES_LOST, blob_of, content_digest, known_digest
from .pending_request import PendingRequest

BINDINGS = 1 << 17
"""Ids that are remembered, those used last."""


class Identities:
    """Owns the bindings of ids."""

    def __init__(self, hasher: str, reader: BlobReader) -> None:
        self._hasher, self._reader = hasher, reader
        self._bindings: Bounded[tuple[str, str | None, str], str] = Bounded(BINDINGS)
        """By (tenant, era, id): the digest of the first content seen under it."""

    def digests(self, media: tuple[MediaItem, ...]) -> list[str | None]:
        """Of each item's bytes; None where there are none, or they are a page's, which has its
        document's. Raises RequestError. May be called from a thread."""
        digests: list[str | None] = []
        for item in media:
            if item.source is None or isinstance(item.source, Page):
                digests.append(None)
                continue
            if (known := known_digest(self._hasher, item)) is not None:
                digests.append(known)
                continue
            with self._bytes(item) as view:
                digests.append(content_digest(self._hasher, item.source, view))
        return digests

    def texts(self, media: tuple[MediaItem, ...]) -> frozenset[int]:
        """Indices of documents that become text, and no picture. Raises RequestError."""
        return frozenset(
            index
            for index, item in enumerate(media)
            if item.modality == "document" and self._is_text(item)
        )

    def _is_text(self, item: MediaItem) -> bool:
        if item.document is not None and item.document.text == "only":
            return True
        with self._bytes(item) as view:
            return not is_pdf(bytes(view[:HEAD]))

    @contextmanager
    def _bytes(self, item: MediaItem) -> Iterator[memoryview]:
        assert item.source is not None
        try:
            with self._reader.view(blob_of(item.source)) as view:
                yield view
        except BlobError as error:
            failure = shortage(error) or BYTES_LOST
            raise RequestError(msgspec.structs.replace(failure, part=item.where)) from error

    def identify(self, pending: PendingRequest, index: int) -> str:
        """The item's digest: of its bytes, or the one that its id is bound to. Raises
        RequestError."""
        request, digest = pending.request, pending.digests[index]
        item = request.media[index]
        if item.uuid is None:
            assert digest is not None
            return digest
        known = self._bindings.use(name := (request.tenant, request.era, item.uuid))
        if known is None:
            if digest is None:
                raise cache_miss(request, index)
            pending.bound.append(item.uuid)
            known = self._bindings[name] = digest
        elif digest not in (None, known):
            text = f"The id {item.uuid!r} names other content already."
            raise refuse("conflict", text, item.where, "uuid_conflict")
        return known

    def knows(self, request: Request, uuid: str) -> bool:
        return (request.tenant, request.era, uuid) in self._bindings

    def learn(self, request: Request, uuid: str, digest: str) -> None:
        """What it stood for before this start."""
        self._bindings[request.tenant, request.era, uuid] = digest

    def bound(self, pending: PendingRequest) -> dict[str, str]:
        """By id that was bound for this request, and stands for it still: the digest."""
        request = pending.request
        names = {uuid: (request.tenant, request.era, uuid) for uuid in pending.bound}
        return {
            uuid: self._bindings[name] for uuid, name in names.items() if name in self._bindings
        }

    def free(self, pending: PendingRequest) -> None:
        """It has failed: what was bound for it has turned out to be no medium."""
        request = pending.request
        for uuid in pending.bound:
            self._bindings.pop((request.tenant, request.era, uuid), None)

    def clear(self) -> None:
        """Every id may name other content."""
        self._bindings.clear()


def cache_miss(request: Request, index: int, again: bool = False) -> RequestError:
    """`again`: the item was here. In a later attempt it may have been: a process has died since the
    request was accepted."""
    item = request.media[index]
    if again or request.attempt:
        text = "What this id names went with a process that was restarted; send the request again"
        return refuse("restarted", f"{text} with its data.", item.where)
    nth = [earlier.modality for earlier in request.media[:index]].count(item.modality)
    return invalid(
        f"Cache miss for {item.modality} at index {nth} but data is not provided.",
        item.where,
        "cache_miss",
    )
