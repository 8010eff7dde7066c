"""detokenizer -> scheduler: choices that ended by text."""

from ..wire import Message


class Stopped(Message, frozen=True):
    """A stop string ended `choice`, in the token at output position `tokens` - 1; what comes after
    is not wanted."""

    id: str
    attempt: int
    choice: int
    tokens: int


DetokenizerToScheduler = Stopped
