"""encoder-cache -> scheduler: embeddings that can be read."""

from ..errors import Failure
from ..memory.blobs import BlobRef
from ..requests.prepared import Timing
from ..wire import Message


class EmbeddingReady(Message, frozen=True):
    """`blob` [rows, hidden] holds item `key` until every one of `holders` has released it."""

    key: str
    holders: tuple[str, ...]
    blob: BlobRef
    hit: bool
    """True: the store had it; False: it was encoded for this."""
    timing: Timing | None = None


class Lost(Message, frozen=True):
    """Nothing is known of `key` (its features never came or went with a process): prepare the
    request again."""

    key: str
    holders: tuple[str, ...]


class EncodeFailed(Message, frozen=True):
    """The item cannot be encoded, or can never fit."""

    key: str
    holders: tuple[str, ...]
    failure: Failure


EncoderCacheToScheduler = EmbeddingReady | Lost | EncodeFailed
