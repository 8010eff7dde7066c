"""encoder-cache -> preprocessor: leases on features come back, and what is known of items."""

from ..wire import Message
from .decode_worker_to_preprocessor import Decoded


class FeaturesRead(Message, frozen=True):
    """The features of these keys are not read any more (encoded, held already, or refused)."""

    keys: tuple[str, ...]


class FeaturesWanted(Message, frozen=True):
    """Of items that are made when they are asked for: it is time for these."""

    keys: tuple[str, ...]


class Recalled(Message, frozen=True):
    """The answer to `Recall`."""

    key: str
    item: Decoded | None
    """Without tensors: its embeddings are here, or can be read. None: it is not known."""


class RecalledId(Message, frozen=True):
    """The answer to `RecallId`."""

    name: str
    digest: str | None
    """Of the content. None: it is not known."""


EncoderCacheToPreprocessor = FeaturesRead | FeaturesWanted | Recalled | RecalledId
