"""fetcher -> preprocessor: requests whose URLs have become bytes."""

from ..requests.prepared import Timing
from ..requests.request import Request
from ..wire import Message


class Fetched(Message, frozen=True):
    """`request` with an `Encoded` for every `Url`; `MediaRead` is the answer."""

    request: Request
    timings: tuple[Timing, ...]


FetcherToPreprocessor = Fetched
