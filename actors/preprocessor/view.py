"""What the preprocessor tells who watches the engine. Pure."""

from collections.abc import Iterable
from itertools import islice

from ...protocol.edges.view import MOST_ITEMS, MOST_REQUESTS, ItemSeen, RequestSeen, Seen, few
from .pending_request import PendingRequest
from .store import FeatureEntry, FeatureStore


def seen(pending: Iterable[PendingRequest], store: FeatureStore) -> Seen:
    """`pending`: in the order in which they came."""
    requests = (one for one in pending if not one.question)
    return Seen(
        tuple(map(_request, islice(requests, MOST_REQUESTS))),
        tuple(map(_item, store.last_used(MOST_ITEMS))),
    )


def _request(pending: PendingRequest) -> RequestSeen:
    request = pending.request
    here = sum(entry is not None for entry in pending.entries)
    if pending.unrendered:
        stage = "template"
    elif here < len(request.media):
        stage = "media"
    else:
        stage = "grammar" if pending.unchecked else "preprocess"
    since = pending.timings[-1].end if pending.timings else None
    return RequestSeen(
        request.id, request.attempt, request.client, request.arrival,
        stage, since, here, len(request.media), few(pending.timings),
    )  # fmt: skip


def _item(entry: FeatureEntry) -> ItemSeen:
    """By the name that the encoder knows it by, where it has one part."""
    parts = entry.decoded.parts
    key = parts[0].key if len(parts) == 1 else entry.key
    kind = parts[0].kind if parts else ""
    state = "features" if any(part.tensors for part in parts) else "headers"  # of a preview
    return ItemSeen(key, state, entry.nbytes, entry.hits, entry.pins, kind, entry.decoded.rows)
