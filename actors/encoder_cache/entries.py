"""What the embedding store's books are made of, and what they tell the actor to do."""

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from ...protocol.edges.decode_worker_to_preprocessor import Decoded
from ...protocol.edges.encoder_cache_to_preprocessor import FeaturesRead, FeaturesWanted
from ...protocol.edges.encoder_cache_to_scheduler import EmbeddingReady, EncodeFailed, Lost
from ...protocol.errors import Failure
from ...protocol.memory.blobs import BlobRef
from ...protocol.requests.prepared import Timing


class FreeEmbedding(NamedTuple):
    """The embedding is not read any more; its block returns to the arena."""

    blob: BlobRef


class ReadKept(NamedTuple):
    """Somebody wants this embedding, which is on disk; `recalled` or `unread` is the answer."""

    key: str
    rows: int


ToOthers = EmbeddingReady | Lost | EncodeFailed | FeaturesRead | FeaturesWanted
StoreEffect = ToOthers | FreeEmbedding | ReadKept


class EntryState(Enum):
    WANTED = "wanted"
    """Space is reserved, the features have not come."""
    QUEUED = "queued"
    """Space and features are here."""
    READING = "reading"
    """From disk; features that come meanwhile are for the case that it cannot be read."""
    ENCODING = "encoding"
    HELD = "held"


@dataclass(slots=True, eq=False)
class EmbeddingEntry:
    """One embedding, or the space for it."""

    key: str
    rows: int
    nbytes: int
    since: float
    """When it was first asked for, seconds."""
    state: EntryState = EntryState.WANTED
    later: bool = False
    """Its features are made when they are asked for: they may take long, and can be made again."""
    modality: str = ""
    """Known when it is encoded."""
    hits: int = 0
    """How often it was asked for again."""
    blob: BlobRef | None = None
    failure: Failure | None = None
    """Why it could not be encoded, for the first who asks, where that comes later."""
    timing: Timing | None = None
    """Of its encoding, for the first who asks, where that comes later."""
    holders: dict[str, None] = field(default_factory=dict)
    """Who pins it."""
    waiting: dict[str, None] = field(default_factory=dict)
    """Those of `holders` that have had no answer yet."""
    item: Decoded | None = None
    """Where it is kept on disk: what it is the first part of."""
    retired: bool = False
    """It was in use at a reset, and is not kept when nobody holds it any more."""

    @property
    def overdue(self) -> bool:
        """Its features should have come by now, or soon."""
        return self.state is EntryState.WANTED and not self.later


class Claim(NamedTuple):
    """A holder that waits for space."""

    holder: str
    rows: dict[str, int]
    """By key."""
    since: float
    later: frozenset[str] = frozenset()
    """Keys of those whose features are made when they are asked for."""


def without(claims: Iterable[Claim], holder: str, keys: Collection[str]) -> deque[Claim]:
    """The claims, but for what `holder` claims of `keys`; (): of all."""
    left: deque[Claim] = deque()
    for claim in claims:
        rows = claim.rows
        if claim.holder == holder:
            rows = {key: count for key, count in rows.items() if keys and key not in keys}
        if rows:
            left.append(claim._replace(rows=rows))
    return left
