"""encoder-cache -> client: whether an item stays on disk."""

from ..errors import Failure
from ..wire import Message


class Pinned(Message, frozen=True):
    """The answer to `Pin` and `Unpin`."""

    id: str
    failure: Failure | None
    """None: it was done, and holds over restarts."""


EncoderCacheToClient = Pinned
