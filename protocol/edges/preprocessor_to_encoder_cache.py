"""preprocessor -> encoder-cache: features to encode, or ready embeddings, one message per item; and
whether an item is known."""

from ..memory.blobs import BlobRef
from ..requests.request import Modality
from ..wire import Message, Record
from .decode_worker_to_preprocessor import Decoded


class Kept(Record, frozen=True):
    """As what an embedding is kept on disk."""

    name: str
    """Its identity there: that of the embedding, but for what a reset of the caches changes."""
    item: Decoded | None = None
    """With the first part of an item: all that was found of it, without tensors."""


class Features(Message, frozen=True):
    """What an encoder needs for an item; the blobs are leased until `FeaturesRead` names `key`."""

    request: str
    """For whom they were made: at its end they are given back unread."""
    client: str
    key: str
    modality: Modality
    rows: int
    """Rows of the embedding to come."""
    tensors: dict[str, BlobRef]
    """By the names that the model's encoder takes them by: `pixel_values`, `image_grid_thw` ..."""
    ready: bool = False
    """True: `tensors["embeds"]` [rows, embed_width] is the embedding itself."""
    kept: Kept | None = None
    """None: its embedding is not kept on disk."""


class Recall(Message, frozen=True):
    """Whether the item `key`, on disk `name`, is known; answered with `Recalled`."""

    key: str
    name: str


class FeaturesGone(Message, frozen=True):
    """The answer to `FeaturesWanted` for items that nobody here could make any more."""

    keys: tuple[str, ...]


class RememberId(Message, frozen=True):
    """The id that is called `name` on disk stands for the content of this digest."""

    name: str
    digest: str


class RecallId(Message, frozen=True):
    """What the id `name` stands for; answered with `RecalledId`."""

    name: str


PreprocessorToEncoderCache = Features | FeaturesGone | Recall | RememberId | RecallId
