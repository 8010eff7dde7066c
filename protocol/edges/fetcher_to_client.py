"""fetcher -> client."""

from ..errors import Failure
from ..wire import Message


class Failed(Message, frozen=True):
    id: str
    attempt: int
    failure: Failure


FetcherToClient = Failed
