"""client -> fetcher: requests that name media by URL or file."""

from ..request import Request
from ..wire import Message


class Fetch(Message, frozen=True):
    """Download every `Url` of the request, then pass it on to the preprocessor."""

    request: Request


ClientToFetcher = Fetch
