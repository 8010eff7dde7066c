"""detokenizer -> client: text, and vectors as they come. The detokenizer is the one writer of
success."""

from typing import Literal

import msgspec

from ..errors import Failure
from ..requests.prepared import Timing
from ..wire import Message
from .scheduler_to_detokenizer import PromptLogprobs, Usage, Vectors


class Logprob(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True, gc=False):
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


class PositionLogprobs(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True, gc=False
):
    chosen: Logprob
    top: tuple[Logprob, ...]


class Delta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What one choice grew by. `text` may lag behind `token_ids` while a character or a stop string
    is incomplete."""

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
    finish_reason: Literal["stop", "length"] | None = None
    stop_reason: str | int | None = None
    """The stop string or stop token id that ended it; None for the model's own end token."""


class Deltas(Message, frozen=True):
    deltas: tuple[Delta, ...]


class Finished(Message, frozen=True):
    """All choices of a request have ended well. Terminal."""

    id: str
    attempt: int
    usage: Usage
    completion_tokens: int
    timings: tuple[Timing, ...]


class DetokenizeFailed(Message, frozen=True):
    """Terminal."""

    id: str
    attempt: int
    failure: Failure


DetokenizerToClient = (
    Deltas | PromptLogprobs[PositionLogprobs] | Vectors | Finished | DetokenizeFailed
)
