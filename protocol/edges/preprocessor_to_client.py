"""preprocessor -> client: the prepared prompt for the ledger, or why there is none."""

from ..errors import Failure
from ..requests.prepared import Prepared
from ..wire import Message


class PreparedCopy(Message, frozen=True):
    """The client's ledger keeps it: a resume starts here. It also ends the preprocessor's lease on
    the client's blobs."""

    prepared: Prepared
    submitted_to: int = 0
    """Epoch of the scheduler that got it; 0: none did, the client resumes it (always so for
    attempts above 0)."""
    text: str | None = None
    """Of a conversation: the prompt as its template rendered it."""


class PrepareFailed(Message, frozen=True):
    """The request ends. It also ends the preprocessor's lease on the client's blobs."""

    id: str
    attempt: int
    failure: Failure


class MediaDropped(Message, frozen=True):
    """The answer to `End` for a request that was still here: no byte of its media is read any
    more."""

    id: str
    attempt: int


class Tokenized(Message, frozen=True):
    id: str
    token_ids: tuple[int, ...]
    text: str
    """The rendered prompt."""


PreprocessorToClient = PreparedCopy | PrepareFailed | MediaDropped | Tokenized
