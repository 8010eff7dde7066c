"""A step in the making, and what becomes of each sequence in it."""

import msgspec

from ...protocol.edges.scheduler_to_gpu_runner import Embed, NewSequence, Work
from .batch import Batch
from .costs import LEAST_CHUNK
from .sequence import Sequence

Blocks = tuple[tuple[int, ...], ...]
"""New ones, of each table; (): of none."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """One sequence's share of a step in flight."""

    seq: Sequence
    number: int
    end: int
    sample: bool
    snapshot: int = 0
    """The slot that its states are copied into; 0: none."""
    guesses: int = 0
    """Positions of a draft, the last ones."""


class Draft:
    """A step in the making."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        """Tokens."""
        self.share = 1.0
        """What is left of the step's time, see `costs`."""
        self.whole = 1.0
        """What there is of it while no stream waits, where a step of a small model may take several
        times its full one."""
        self.chunks = 0
        """Prompts that it computes parts of."""
        self.prompts = 0.0
        """Their cost."""
        self.decoded = 0.0
        """The share of a step's tokens that are for sequences that speak already."""
        self.streams = False
        """Somebody waits for these tokens, one by one."""
        self.least = LEAST_CHUNK
        self.starved = False
        """A running sequence lacks a block: no new one is admitted."""
        self.parts: list[Part] = []
        self.new: list[NewSequence] = []
        self.work: list[Work] = []
        self.embeds: list[Embed] = []

    def add(
        self,
        seq: Sequence,
        count: int,
        sample: bool,
        cost: float,
        blocks: Blocks = (),
        snapshot: int = 0,
        guesses: tuple[int, ...] = (),
    ) -> None:
        start = seq.planned
        self.work.append(Work(seq.number, start, count, sample, blocks, snapshot, guesses))
        self.parts.append(Part(seq, seq.number, start + count, sample, snapshot, len(guesses)))
        self.budget -= count
        self.share -= cost
        seq.planned = start + count
        seq.flights += 1
        seq.pending += sample

    def withdraw(self, seq: Sequence) -> None:
        """Take back what a decoding sequence was to say that is to be preempted."""
        for index, part in enumerate(self.parts):
            if part.seq is seq:
                self.budget += 1 + part.guesses
                seq.planned -= 1 + part.guesses
                del self.parts[index], self.work[index]
                seq.flights -= 1
                seq.pending -= 1
                return

    def blocks(self, seq: Sequence, end: int, batch: Batch) -> Blocks | None:
        """Those that the positions up to `end` need, () where they are there; None where they are
        not to be had now. Younger sequences give way for them, whatever they were to say in this
        step."""
        books = batch.books
        assert books is not None
        if end <= seq.holding.tokens:
            return ()
        while books.lacks(seq.holding, end):
            youngest = batch.victim(seq)
            if youngest is None:
                self.starved = True
                return None
            self.withdraw(youngest)
            batch.preempt(youngest)
        return books.extend(seq.holding, end)
