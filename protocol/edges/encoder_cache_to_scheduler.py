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
    timing: Timing | None = None
    """Of its encoding, where it was encoded for this; None: the store had it."""


class Lost(Message, frozen=True):
    """The features of `key` never came, or went with a process: prepare the request again."""

    key: str
    holders: tuple[str, ...]


class EncodeFailed(Message, frozen=True):
    """The item cannot be encoded, or can never fit."""

    key: str
    holders: tuple[str, ...]
    failure: Failure


EncoderCacheToScheduler = EmbeddingReady | Lost | EncodeFailed
