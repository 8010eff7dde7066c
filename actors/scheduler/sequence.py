"""A request as the scheduler sees it: what was asked, and one sequence per choice."""

from bisect import bisect_right
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from ...protocol.edges.gpu_runner_to_scheduler import Pooled, TokenLogprobs
from ...protocol.edges.scheduler_to_detokenizer import FinishReason, Usage
from ...protocol.memory.blobs import BlobRef
from ...protocol.requests.prepared import Item, Prepared, Timing
from .books import Holding
from .prefix import HashChain

Order = tuple[int, float, int, int]
"""(priority, arrival, number of the request, choice): the smallest is never preempted."""


class Place(Enum):
    WAITING = auto()
    RUNNING = auto()
    LEAVING = auto()
    """Out of the batch, but a step in flight still writes its blocks."""
    OUT = auto()


class PlacedSpan(NamedTuple):
    """A span of the prompt with its item."""

    start: int
    end: int
    offset: int
    item: Item


@dataclass(slots=True, eq=False)
class ScheduledRequest:
    """One attempt of a request; kept for replays until the client acknowledges its end."""

    prepared: Prepared
    max_tokens: int
    spans: tuple[PlacedSpan, ...]
    """Of all items, in prompt order."""
    submitted: float
    """Seconds by time.monotonic, like the other times."""
    constraining: float = 0.0
    """The share of a step that its constraints take for each token."""
    sequences: list["Sequence"] = field(default_factory=list)
    released: tuple[int, ...] = ()
    """Of a resumed request: characters of each choice that the client had."""
    scores: list[TokenLogprobs] = field(default_factory=list)
    """Log-probabilities of the prompt's tokens from position 1 on, as far as they have come."""
    scores_wanted: bool = False
    """True until all have come."""
    cached_tokens: int = 0
    preemptions: int = 0
    asked: float | None = None
    """First `Need`, and when all that it named was there."""
    held: float | None = None
    started: float | None = None
    """First step planned, first and last token answered."""
    first_token: float | None = None
    last_token: float | None = None
    timings: list[Timing] = field(default_factory=list)
    """Of the encoder."""
    closed: bool = False
    windowed: bool = False
    """Its items are asked for some at a time, as its prompt is computed."""
    heard: float = 0.0
    """When one of its items was asked for, or came, last."""
    whole: bool = False
    """Every state of the prompt counts: none of it may come from the prefix cache."""

    @property
    def id(self) -> str:
        return self.prepared.id

    @property
    def ended(self) -> bool:
        return all(seq.ended for seq in self.sequences)

    def usage(self) -> Usage:
        prepared = self.prepared
        return Usage(
            len(prepared.token_ids),
            self.cached_tokens,
            prepared.media_tokens,
            self.preemptions,
            prepared.media_options,
        )

    def stages(self) -> tuple[Timing, ...]:
        """Where the time went in this process, and in the encoder for it."""
        marks = (
            ("queue", self.submitted, self.started),
            ("encode wait", self.asked, self.held),
            ("prefill", self.started, self.first_token),
            ("decode", self.first_token, self.last_token),
        )
        own = [
            Timing(stage, start, end)
            for stage, start, end in marks
            if start is not None and end is not None
        ]
        return (*self.timings, *own)


@dataclass(slots=True, eq=False)
class Sequence:
    """One choice of one request."""

    request: ScheduledRequest
    choice: int
    order: Order
    chain: HashChain
    leader: "Sequence | None"
    """The choice whose prefill this one waits for, to share its prompt's blocks."""
    output: list[int] = field(default_factory=list)
    """Tokens answered by the runner, or brought by a resume."""
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    """Of output positions from `resumed` on, where they were asked for."""
    resumed: int = 0
    """Tokens of `output` that came with a resume: the client has them."""
    finish: FinishReason | None = None
    stop_token: int | None = None
    vectors: Pooled | None = None
    """The answer, where vectors are wanted."""
    ended: bool = False
    said: str = ""
    """Prompt and output as characters, for drafts; written by `Lookup`, like the next."""
    guessed: str = ""
    """What may follow `said`."""
    prefilled: bool = False
    """The whole prompt has been computed at least once."""
    joined: bool = False
    """It has been in the batch before."""
    place: Place = Place.OUT

    # in the batch
    number: int = 0
    """The runner's name for it; a new one each time it joins."""
    holding: Holding = field(default_factory=Holding)
    landmarks: tuple[int, ...] = ()
    """Where its prefill stops to have its recurrent states kept."""
    target: int = 0
    """Tokens known when it joined; up to here it prefills, then it decodes."""
    planned: int = 0
    """Positions computed or in a step in flight."""
    computed: int = 0
    """Those that have been answered; 0 before its first step."""
    published: int = 0
    """Blocks handed to the prefix cache, or found there."""
    flights: int = 0
    """Steps in flight that write its blocks."""
    pending: int = 0
    """Tokens being sampled by steps in flight."""
    turn: int = 0
    """The step in which it was last given a token to sample."""
    doubt: int = 0
    """The runner died computing positions before this one; 0: they have been answered since."""

    # media
    holder: str | None = None
    """Its name at the encoder-cache while it asks for or holds embeddings."""
    asked: frozenset[str] | None = None
    """Keys under `holder`; None: nothing was decided yet."""
    ready: dict[str, BlobRef] = field(default_factory=dict)
    stalled: bool = False
    """It waits, and could compute nothing, or too little, before an item that is not there."""
    gave_way: int = -1
    """The step before which it let its embeddings go for an older one."""

    @property
    def prompt(self) -> tuple[int, ...]:
        return self.request.prepared.token_ids

    @property
    def known(self) -> int:
        return len(self.request.prepared.token_ids) + len(self.output)

    @property
    def guesses(self) -> bool:
        """A step in flight verifies a draft, so how many tokens it brings is not known."""
        return self.planned >= self.known + self.pending

    @property
    def wants_scores(self) -> bool:
        return self.choice == 0 and self.request.scores_wanted

    @property
    def media_end(self) -> int:
        """One past the last position that takes an embedding."""
        return self.request.spans[-1].end if self.request.spans else 0

    def finish_by_tokens(self) -> None:
        """Whether its newest token ends it, and how. Stop strings are the detokenizer's part."""
        sampling, eos = self.request.prepared.sampling, self.request.prepared.eos_token_ids
        token = self.output[-1]
        ends = (token in eos and not sampling.ignore_eos) or token in sampling.stop_token_ids
        if ends and len(self.output) >= sampling.min_tokens:
            self.finish, self.stop_token = "stop", token
        elif len(self.output) >= self.request.max_tokens:
            self.finish = "length"

    def waits_for_leader(self) -> bool:
        leader = self.leader
        return leader is not None and not leader.prefilled and not leader.ended

    def needs_after(self, start: int) -> dict[str, int]:
        """Rows by key of the items that positions from `start` on take."""
        return {
            placed.item.key: placed.item.rows for placed in self.request.spans if placed.end > start
        }

    def items_reach(self, start: int, end: int) -> int:
        """Up to where in [start, end) all items are there."""
        spans = self.request.spans
        for placed in spans[bisect_right(spans, start, key=lambda p: p.end) :]:
            if placed.start >= end:
                break
            if placed.item.key not in self.ready:
                return max(start, placed.start)
        return end


def place_spans(prepared: Prepared) -> tuple[PlacedSpan, ...]:
    return tuple(
        sorted(
            (
                PlacedSpan(span.start, span.end, span.offset, item)
                for item in prepared.items
                for span in item.spans
            ),
            key=lambda placed: placed.start,
        )
    )
