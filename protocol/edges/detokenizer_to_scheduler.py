"""detokenizer -> scheduler: choices that ended by text."""

from ..wire import OfRequest


class Stopped(OfRequest, frozen=True):
    """A stop string ended `choice` in its token number `tokens`; what comes after is not wanted."""

    choice: int
    tokens: int


DetokenizerToScheduler = Stopped
