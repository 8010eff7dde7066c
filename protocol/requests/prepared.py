"""The prepared request: token ids, placeholder spans, positions. What the scheduler runs and what a
resume starts from."""

from typing import Any

import msgspec

from .pooling import PoolingParams
from .request import Modality
from .sampling import SamplingParams


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A run of placeholder tokens: prompt positions [start, start+length) take rows [offset,
    offset+length) of the item's embedding."""

    start: int
    length: int
    offset: int = 0

    @property
    def end(self) -> int:
        return self.start + self.length


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One media item in the prompt."""

    key: str
    """Identity of its embedding: hex digest of content, options that change features, processor and
    weights."""
    modality: Modality
    rows: int
    """Rows of its embedding, [rows, hidden]."""
    spans: tuple[Span, ...]
    """In prompt order; more than one where sound and picture of a clip interleave."""


class Timing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One stretch of a request's way: `stage` took [start, end), seconds by time.monotonic, which
    all processes of a machine share."""

    stage: str
    start: float
    end: float
    detail: str = ""


EffectiveOptions = dict[str, dict[str, dict[str, Any]]]
"""Options in effect by kind (`mm_processor_kwargs`, `media_io_kwargs`) and modality."""


class Prepared(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the preprocessor made of a `Request`; enough, with the output tokens so far, to go on
    anywhere."""

    id: str
    attempt: int
    client: str
    tenant: str
    arrival: float
    deadline: float | None
    priority: int
    streamed: bool = True
    """As of `Request`."""
    token_ids: tuple[int, ...]
    items: tuple[Item, ...]
    positions: bytes | None
    """Rotary positions, int32 little endian [planes, len(token_ids)]; None: 0, 1, 2 ... on every
    plane."""
    unbroken: tuple[tuple[int, int], ...] = ()
    """Stretches [first, last) of the prompt, in its order, whose tokens see each other both ways:
    one step computes one."""
    position_delta: int = 0
    """Decode position = index + delta, on all planes."""
    sampling: SamplingParams
    """Complete: seed drawn, max_tokens clamped to the context."""
    pooling: PoolingParams | None = None
    """What is wanted where it is vectors: the prompt is computed, and nothing sampled."""
    eos_token_ids: tuple[int, ...]
    media_tokens: dict[str, int] = {}
    """Placeholder tokens per modality of media, for usage."""
    media_options: EffectiveOptions = {}
    """What those that the request asked for came to, for usage."""
    timings: tuple[Timing, ...] = ()

    @property
    def prompt_token_ids(self) -> tuple[int, ...]:
        """What callers see of `token_ids`: nothing of a prompt of embeddings, whose places they
        only mark."""
        return () if any(item.modality == "prompt" for item in self.items) else self.token_ids
