"""scheduler -> detokenizer: tokens, batched per step."""

from typing import Generic, Literal, TypeVar

import msgspec

from ..requests.prepared import EffectiveOptions, Timing
from ..requests.request import Want
from ..requests.sampling import SamplingParams
from ..wire import Message, OfRequest, Record
from .gpu_runner_to_scheduler import TokenLogprobs

FinishReason = Literal["stop", "length"]


class Open(OfRequest, frozen=True):
    """A request that will send tokens; comes before any of them."""

    client: str
    sampling: SamplingParams
    prompt_token_ids: tuple[int, ...]
    released: tuple[int, ...] = ()
    """Of a resumed request: characters of each choice that the client has already."""
    want: Want = "token"


class Output(Record, frozen=True):
    """New tokens of one choice, at output positions [position, position + len(token_ids))."""

    id: str
    attempt: int
    choice: int
    position: int
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprobs, ...] = ()
    finish: FinishReason | None = None
    stop_token: int | None = None
    """The token that ended it, where one did: an end token or one of `stop_token_ids`."""
    replayed: bool = False
    """The client has these tokens: of their text only what was not yet released is sent."""


class Usage(Record, frozen=True):
    """What the scheduler knows of a request's cost."""

    prompt_tokens: int
    cached_tokens: int
    media_tokens: dict[str, int]
    preemptions: int
    media_options: EffectiveOptions = msgspec.field(default_factory=dict)


class Outputs(Message, frozen=True):
    outputs: tuple[Output, ...]


E = TypeVar("E")


class PromptLogprobs(OfRequest, Generic[E], frozen=True):
    """Log-probabilities of the prompt's tokens at [start, start + len(entries)), as they are
    computed; all come before the first output. A prompt of one token, which has none, gives one
    message without entries. The detokenizer passes them on, with texts for ids."""

    start: int
    entries: tuple[E, ...]


class Vectors(OfRequest, frozen=True):
    """The whole answer of a request that wants vectors."""

    rows: int
    data: bytes
    """float32 little endian [rows, width]."""


class Close(OfRequest, frozen=True):
    """Every choice has ended as far as the scheduler knows; no output comes after it."""

    usage: Usage
    timings: tuple[Timing, ...]


SchedulerToDetokenizer = Open | Outputs | PromptLogprobs[TokenLogprobs] | Vectors | Close
