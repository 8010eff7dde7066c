"""GPU runner -> scheduler: what was computed."""

import msgspec

from ..wire import Message


class TokenLogprobs(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True, gc=False
):
    """Log-probabilities of one position, after the model, before temperature and filters."""

    token_id: int
    logprob: float
    rank: int
    """1 is the most likely."""
    top: tuple[tuple[int, float], ...]
    """The most likely (token id, logprob), best first."""


class Sampled(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    seq: int
    token_id: int
    logprobs: TokenLogprobs | None = None


class Pooled(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """The vectors of one prompt, whole."""

    seq: int
    rows: int
    data: bytes
    """float32 little endian [rows, width]."""


class Scored(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Prompt positions [start, start + len(entries)) of one sequence."""

    seq: int
    start: int
    entries: tuple[TokenLogprobs, ...]


class SequenceFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One sequence could not be computed (non-finite logits, unreadable embedding); the others went
    on."""

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
