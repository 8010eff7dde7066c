"""Messages that travel on more than one edge, each with one meaning wherever it comes from."""

from ..errors import Failure
from ..wire import OfRequest


class RequestFailed(OfRequest, frozen=True):
    """To its client: the request ends without an answer. No byte of its media is read any more."""

    failure: Failure


class MediaRead(OfRequest, frozen=True):
    """To who keeps its media, the client or the fetcher: no byte of them is read any more."""
