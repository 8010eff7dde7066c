"""What the embedding store's books are made of, and what they tell the actor to do."""

from enum import Enum
from typing import NamedTuple

from ...protocol.edges.encoder_cache_to_preprocessor import FeaturesRead
from ...protocol.edges.encoder_cache_to_scheduler import EmbeddingReady, EncodeFailed, Lost
from ...protocol.errors import Failure
from ...protocol.memory.blobs import BlobRef
from ...protocol.requests.prepared import Timing


class FreeEmbedding(NamedTuple):
    """The embedding is not read any more; its block returns to the arena."""

    blob: BlobRef


StoreEffect = EmbeddingReady | Lost | EncodeFailed | FeaturesRead | FreeEmbedding


class EntryState(Enum):
    WANTED = "wanted"
    """Space is reserved, the features have not come."""
    QUEUED = "queued"
    """Space and features are here."""
    ENCODING = "encoding"
    HELD = "held"


class EmbeddingEntry:
    """One embedding, or the space for it."""

    __slots__ = (
        "blob",
        "failure",
        "holders",
        "key",
        "nbytes",
        "retired",
        "rows",
        "since",
        "state",
        "timing",
        "waiting",
    )

    def __init__(self, key: str, rows: int, nbytes: int, since: float) -> None:
        self.key = key
        self.rows = rows
        self.nbytes = nbytes
        self.since = since
        """When it was first asked for, seconds."""
        self.state = EntryState.WANTED
        self.blob: BlobRef | None = None
        self.failure: Failure | None = None
        """Why it could not be encoded, for the first who asks, where that comes later."""
        self.timing: Timing | None = None
        """Of its encoding, for the first who asks, where that comes later."""
        self.holders: dict[str, None] = {}
        """Who pins it."""
        self.waiting: dict[str, None] = {}
        """Those of `holders` that have had no answer yet."""
        self.retired = False
        """It was in use at a reset, and is not kept when nobody holds it any more."""


class Claim(NamedTuple):
    """A holder that waits for space."""

    holder: str
    rows: dict[str, int]
    """By key."""
    since: float
