"""fetcher -> preprocessor: requests whose URLs have become bytes."""

from ..requests.prepared import Timing
from ..requests.request import Request
from ..wire import Message


class Fetched(Message, frozen=True):
    """`request` with every `Url` replaced by `Encoded`. Answer with `MediaRead` when the bytes are
    no longer needed."""

    request: Request
    timings: tuple[Timing, ...]


FetcherToPreprocessor = Fetched
