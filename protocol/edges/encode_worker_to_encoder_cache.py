"""encode worker -> encoder-cache: what was copied, and what was encoded."""

from ..errors import Failure
from ..memory.blobs import BlobRef
from ..wire import Message, Record


class Copied(Message, frozen=True):
    """The features of this batch are, as far as they could be read."""

    number: int


class EncodedItem(Record, frozen=True):
    """Its embedding, or why there is none; with neither its features could not be read."""

    blob: BlobRef | None = None
    """[rows, embed_width], in the worker's arena until `EmbeddingsTaken`."""
    failure: Failure | None = None


class BatchEncoded(Message, frozen=True):
    """The answer to a `Proceed`, its items in their order."""

    number: int
    items: tuple[EncodedItem, ...]
    began: float
    """Seconds by time.monotonic, like the next."""
    ended: float


EncodeWorkerToEncoderCache = Copied | BatchEncoded
