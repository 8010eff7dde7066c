"""preprocessor -> fetcher: leases on downloaded bytes come back."""

from ..wire import Message


class MediaRead(Message, frozen=True):
    """The preprocessor reads no byte of this request any more."""

    id: str
    attempt: int


PreprocessorToFetcher = MediaRead
