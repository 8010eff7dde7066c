"""scheduler -> encoder-cache: which embeddings are wanted, in the scheduler's order."""

from ..wire import Message


class Need(Message, frozen=True):
    """Hold these items for `holder` until it releases them; answered with `EmbeddingReady` per
    item, or `Lost`.

    Space for all of them is reserved in one piece, in order of arrival. A holder may ask for more,
    and release some.
    """

    holder: str
    """The scheduler's name for a sequence."""
    keys: tuple[str, ...]
    rows: tuple[int, ...]
    later: tuple[str, ...] = ()
    """Those of `keys` whose features are made when they are asked for."""


class Release(Message, frozen=True):
    """`holder` reads none of these items any more; idempotent."""

    holder: str
    keys: tuple[str, ...] = ()
    """(): all of its items."""


SchedulerToEncoderCache = Need | Release
