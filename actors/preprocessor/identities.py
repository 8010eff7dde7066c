"""What content each item of a request is: that of its bytes, or that which its id is bound to."""

import msgspec

from ...protocol.errors import RequestError, invalid, refuse
from ...protocol.memory.blobs import BlobError, BlobReader
from ...protocol.memory.shortage import shortage
from ...protocol.requests.request import MediaItem, Request
from ..jobs.identity import blob_of, content_digest
from .pending_request import PendingRequest
from .store import UuidBindings


class Identities:
    """Owns the bindings of ids."""

    def __init__(self, hasher: str, reader: BlobReader) -> None:
        self._hasher, self._reader = hasher, reader
        self._bindings = UuidBindings()

    def digests(self, media: tuple[MediaItem, ...]) -> list[str | None]:
        """Of each item's bytes; None where there are none. Raises RequestError. May be called from
        a thread."""
        digests: list[str | None] = []
        for item in media:
            if item.source is None:
                digests.append(None)
                continue
            try:
                with self._reader.view(blob_of(item.source)) as view:
                    digests.append(content_digest(self._hasher, item.source, view))
            except BlobError as error:
                if (short := shortage(error)) is not None:
                    raise RequestError(msgspec.structs.replace(short, part=item.where)) from error
                text = (
                    "The item's bytes went with a process that was restarted; send the request "
                    "again."
                )
                raise refuse("restarted", text, item.where) from error
        return digests

    def identify(self, pending: PendingRequest, index: int) -> str:
        """The item's digest: of its bytes, or the one that its id is bound to. Raises
        RequestError."""
        request, digest = pending.request, pending.digests[index]
        item = request.media[index]
        if item.uuid is None:
            assert digest is not None
            return digest
        if digest is None:
            known = self._bindings.get(request.tenant, item.uuid)
            if known is None:
                raise cache_miss(request, index)
            return known
        if self._bindings.get(request.tenant, item.uuid) is None:
            pending.bound.append(item.uuid)
        if not self._bindings.bind(request.tenant, item.uuid, digest):
            raise refuse(
                "conflict",
                f"The id {item.uuid!r} names other content already.",
                item.where,
                "uuid_conflict",
            )
        return digest

    def free(self, pending: PendingRequest) -> None:
        """It has failed: what was bound for it has turned out to be no medium."""
        for uuid in pending.bound:
            self._bindings.free(pending.request.tenant, uuid)

    def clear(self) -> None:
        """Every id may name other content."""
        self._bindings.clear()


def cache_miss(request: Request, index: int, again: bool = False) -> RequestError:
    """`again`: the item was here. In a later attempt it may have been: a process has died since the
    request was accepted."""
    item = request.media[index]
    if again or request.attempt:
        text = (
            "What this id names went with a process that was restarted; send the request again "
            "with its data."
        )
        return refuse("restarted", text, item.where)
    nth = sum(1 for earlier in request.media[:index] if earlier.modality == item.modality)
    return invalid(
        f"Cache miss for {item.modality} at index {nth} but data is not provided.",
        item.where,
        "cache_miss",
    )
