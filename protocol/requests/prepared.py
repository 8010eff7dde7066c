"""The prepared request: what the scheduler runs and what a resume starts from."""

from typing import Any

import msgspec

from ..wire import Record
from .pooling import PoolingParams
from .request import Modality
from .sampling import SamplingParams


class Span(Record, frozen=True):
    """A run of placeholder tokens: prompt positions [start, start+length) take rows [offset,
    offset+length) of the item's embedding."""

    start: int
    length: int
    offset: int = 0

    @property
    def end(self) -> int:
        return self.start + self.length


class Item(Record, frozen=True):
    """One media item in the prompt."""

    key: str
    """Identity of its embedding: hex digest of content, options, processor and weights."""
    modality: Modality
    rows: int
    """Rows of its embedding, [rows, hidden]."""
    spans: tuple[Span, ...]
    """In prompt order; more than one where sound and picture of a clip interleave."""
    later: bool = False
    """Its features are made when the encoder asks for them."""


class Timing(Record, frozen=True):
    """One stretch of a request's way: `stage` took [start, end), seconds by time.monotonic."""

    stage: str
    start: float
    end: float
    detail: str = ""
    item: str = ""
    """Of which item: its `where`, or the key of its embedding; "": of none, or of all."""


class ItemSource(Record, frozen=True):
    """What a media item of a request was before it was prepared, for those who ask where the time
    went."""

    where: str
    modality: Modality
    keys: tuple[str, ...]
    """Identities of its embeddings."""
    nbytes: int
    """As it came in; 0: it was named by its id alone."""
    held: bool
    """It had been decoded before."""
    name: str = ""
    """As what the encoder-cache keeps it on disk; empty: it does not."""


EffectiveOptions = dict[str, dict[str, dict[str, Any]]]
"""Options in effect by kind (`mm_processor_kwargs`, `media_io_kwargs`) and modality."""


class Prepared(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What has been made of a `Request`; with its output so far, enough to go on anywhere."""

    id: str
    attempt: int
    client: str
    tenant: str
    arrival: float
    priority: int
    streamed: bool = True
    """As of `Request`."""
    token_ids: tuple[int, ...]
    items: tuple[Item, ...]
    positions: bytes | None
    """Rotary, int32 little endian [planes, len(token_ids)]; None: 0, 1, 2 ... on every plane."""
    unbroken: tuple[tuple[int, int], ...] = ()
    """Stretches [first, last), in order, whose tokens see each other both ways: one a step."""
    position_delta: int = 0
    """Decode position = index + delta, on all planes."""
    sampling: SamplingParams
    """Complete: seed drawn, max_tokens clamped to the context."""
    pooling: PoolingParams | None = None
    """What is wanted where it is vectors: the prompt is computed, and nothing sampled."""
    eos_token_ids: tuple[int, ...]
    era: str = ""
    """Between which resets of the media's caches it was accepted: part of its items' keys, which a
    later attempt has again."""
    media_tokens: dict[str, int] = {}
    """Placeholder tokens per modality of media, for usage."""
    media_options: EffectiveOptions = {}
    """What those that the request asked for came to, for usage."""
    timings: tuple[Timing, ...] = ()

    @property
    def prompt_token_ids(self) -> tuple[int, ...]:
        """What callers see of `token_ids`: nothing of a prompt of embeddings."""
        return () if any(item.modality == "prompt" for item in self.items) else self.token_ids
