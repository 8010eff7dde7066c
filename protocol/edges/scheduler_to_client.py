"""scheduler -> client: refusals and ends without an answer."""

from ..errors import Failure
from ..wire import Message


class Rejected(Message, frozen=True):
    """Terminal."""

    id: str
    attempt: int
    failure: Failure


class MediaLost(Message, frozen=True):
    """An embedding is gone and its features too: the ledger submits the request again under a
    higher attempt."""

    id: str
    attempt: int
    keys: tuple[str, ...]


SchedulerToClient = Rejected | MediaLost
