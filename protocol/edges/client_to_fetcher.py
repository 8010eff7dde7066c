"""client -> fetcher: requests that name media by URL or file."""

from ..requests.request import Request
from ..wire import Message, OfRequest


class Fetch(Message, frozen=True):
    """Download every `Url` of the request, then pass it on to the preprocessor."""

    request: Request
    after: int = 0
    """The preprocessor's epochs up to this one are dead, as the client knows: the fetcher may not
    have heard of it yet, and what is sent again because of a death must not go to the dead."""


class Withdraw(OfRequest, frozen=True):
    """Attempts up to this one are not wanted; a higher one may come. Void where it has gone on."""


ClientToFetcher = Fetch | Withdraw
