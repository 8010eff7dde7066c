"""preprocessor -> encoder-cache: features to encode, or ready embeddings, one message per item."""

from ..memory.blobs import BlobRef
from ..requests.request import Modality
from ..wire import Message


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


class FeaturesGone(Message, frozen=True):
    """The answer to `FeaturesWanted` for items that nobody here could make any more."""

    keys: tuple[str, ...]


PreprocessorToEncoderCache = Features | FeaturesGone
