"""encoder-cache -> encode worker: what to encode, and which embeddings have been taken."""

from ..memory.blobs import BlobRef
from ..requests.request import Modality
from ..wire import Message, Record

NUMBERS = 1 << 40
"""Batches of one encoder-cache, more than it lives to give."""


def first_number(epoch: int) -> int:
    """Of the batches of the encoder-cache with this epoch: none of its successors' is the same."""
    return epoch * NUMBERS


def epoch_of(number: int) -> int:
    """Of the encoder-cache that has given this batch."""
    return number // NUMBERS


class ItemToEncode(Record, frozen=True):
    rows: int
    """Of the embedding to come."""
    tensors: dict[str, BlobRef]
    """As of `Features`, whose leases the encoder-cache keeps until the answer, where it can."""


class Encode(Message, frozen=True):
    """Items of one kind, together: to be copied, which `Copied` answers."""

    number: int
    modality: Modality
    items: tuple[ItemToEncode, ...]


class Proceed(Message, frozen=True):
    """The features of these items were still leased when they had been copied: they are whole, and
    are to be encoded, which `BatchEncoded` answers."""

    number: int
    places: tuple[int, ...]


class EmbeddingsTaken(Message, frozen=True):
    """Nothing of this batch is read any more; idempotent."""

    number: int


EncoderCacheToEncodeWorker = Encode | Proceed | EmbeddingsTaken
