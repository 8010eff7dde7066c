"""scheduler -> encoder-cache: which embeddings are wanted, in the scheduler's order."""

from ..wire import Message


class Need(Message, frozen=True):
    """Hold these items for `holder` until it releases them; answered with `EmbeddingReady` per
    item, or `Lost`.

    Space for all of them is reserved in one piece, in order of arrival.
    """

    holder: str
    """The scheduler's name for a sequence."""
    keys: tuple[str, ...]
    rows: tuple[int, ...]


class Release(Message, frozen=True):
    """`holder` reads none of its items any more; idempotent."""

    holder: str


SchedulerToEncoderCache = Need | Release
