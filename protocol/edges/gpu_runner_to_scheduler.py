"""GPU runner -> scheduler: what was computed."""

from ..wire import Message, Record


class TokenLogprobs(Record, frozen=True, gc=False):
    """Log-probabilities of one position, after the model, before temperature and filters."""

    token_id: int
    logprob: float
    rank: int
    """1 is the most likely."""
    top: tuple[tuple[int, float], ...]
    """The most likely (token id, logprob), best first."""


class Sampled(Record, frozen=True):
    seq: int
    token_id: int
    logprobs: TokenLogprobs | None = None


class Pooled(Record, frozen=True):
    """The vectors of one prompt, whole."""

    seq: int
    rows: int
    data: bytes
    """float32 little endian [rows, width]."""


class Scored(Record, frozen=True):
    """Prompt positions [start, start + len(entries)) of one sequence."""

    seq: int
    start: int
    entries: tuple[TokenLogprobs, ...]


class SequenceFault(Record, frozen=True):
    """One sequence could not be computed (non-finite logits, unreadable embedding) in a step."""

    seq: int
    text: str
    constrained: bool = False
    """The request's own constraints left no token to choose."""


class StepResult(Message, frozen=True):
    step: int
    sampled: tuple[Sampled, ...]
    """Several of one sequence where its draft was guessed rightly, in their order."""
    prompt_logprobs: tuple[Scored, ...] = ()
    faults: tuple[SequenceFault, ...] = ()
    seconds: float = 0.0
    """Time in the model."""
    pooled: tuple[Pooled, ...] = ()
    beside: bool = False
    """The encoder computed meanwhile, and had its part of the cores."""


GpuRunnerToScheduler = StepResult
