"""A step from its making to its answer, and what it computes of each sequence."""

import msgspec

from ...protocol.edges.scheduler_to_gpu_runner import Embed, NewSequence, Work
from .batch import Batch
from .costs import LEAST_CHUNK
from .sequence import Sequence

Blocks = tuple[tuple[int, ...], ...]
"""New ones, of each table; (): of none."""


class Part(msgspec.Struct, frozen=True, gc=False):
    """What a step computes of one sequence."""

    seq: Sequence
    work: Work

    @property
    def end(self) -> int:
        """One past its last position."""
        return self.work.start + self.work.count


class Step:
    """A step in the making, and then in flight."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        """Tokens."""
        self.share = 1.0
        """What is left of the step's time, see `costs`."""
        self.whole = 1.0
        """What there is of it while no stream waits: of a small model, several full steps."""
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
        self.embeds: list[Embed] = []
        self.number = 0
        """Of its plan."""
        self.orphaned = False
        """The encoder-cache died meanwhile: a fault may be for want of its blobs."""

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
        work = Work(seq.number, start, count, sample, blocks, snapshot, guesses)
        self.parts.append(Part(seq, work))
        self.budget -= count
        self.share -= cost
        seq.planned = start + count
        seq.flights += 1
        seq.pending += sample

    def withdraw(self, seq: Sequence) -> None:
        """Take back what a decoding sequence was to say that is to be preempted."""
        for index, part in enumerate(self.parts):
            if part.seq is seq:
                self.budget += part.work.count
                seq.planned -= part.work.count
                del self.parts[index]
                seq.flights -= 1
                seq.pending -= part.work.sample
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
