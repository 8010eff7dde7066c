"""detokenizer -> client: text, and vectors as they come. Nobody else tells of success."""

from ..requests.prepared import Timing
from ..wire import Message, OfRequest, Record
from .scheduler_to_detokenizer import FinishReason, PromptLogprobs, Usage, Vectors
from .shared import RequestFailed


class Logprob(Record, frozen=True, gc=False):
    """Of one token at one position; Python callers get it as it is. Up to fifty come with each
    token, and the garbage collector does not look at them: none refers to itself."""

    token_id: int
    logprob: float
    rank: int
    """1 is the most likely."""
    decoded_token: str
    """Decoded alone; a partial character is shown with U+FFFD."""
    raw: bytes
    """The token's own bytes."""


class PositionLogprobs(Record, frozen=True, gc=False):
    chosen: Logprob
    top: tuple[Logprob, ...]


class Delta(Record, frozen=True):
    """What a choice grew by. `text` lags while a character or a stop string is incomplete."""

    id: str
    attempt: int
    choice: int
    position: int
    """Output position of the first of `token_ids`."""
    offset: int
    """Characters of this choice released before `text`."""
    token_ids: tuple[int, ...]
    text: str
    logprobs: tuple[PositionLogprobs, ...] = ()
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None
    """The stop string or stop token id that ended it; None for the model's own end token."""


class Deltas(Message, frozen=True):
    deltas: tuple[Delta, ...]


class Finished(OfRequest, frozen=True):
    """All choices of a request have ended well. Terminal."""

    usage: Usage
    completion_tokens: int
    timings: tuple[Timing, ...]
    reasoning_tokens: int | None = None
    """Of them those of thinking, without its marks; None: it is not known."""


DetokenizerToClient = Deltas | PromptLogprobs[PositionLogprobs] | Vectors | Finished | RequestFailed
