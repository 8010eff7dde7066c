"""encoder-cache -> preprocessor: leases on features come back, and what is held."""

from ..wire import Message


class FeaturesRead(Message, frozen=True):
    """The features of these keys are not read any more (encoded, held already, or refused)."""

    keys: tuple[str, ...]


class FeaturesWanted(Message, frozen=True):
    """Of items that are made when they are asked for: it is time for these."""

    keys: tuple[str, ...]


EncoderCacheToPreprocessor = FeaturesRead | FeaturesWanted
