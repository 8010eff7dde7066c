"""Who waits, who runs, who is leaving; and the blocks they hold. Sequences change place here and nowhere else."""

import sys
from bisect import insort
from operator import attrgetter

from .blocks import BlockPool
from .media import Embeddings
from .outbox import Tally
from .sequence import Place, Sequence

by_order = attrgetter("order")
NEVER = sys.maxsize
"""As `Sequence.published`: none of its blocks is shared any more."""


class Batch:
    """The places of all sequences. `waiting` and `running` are in order; the last of `running` is the youngest."""

    def __init__(self, media: Embeddings, tally: Tally, prefix_caching: bool) -> None:
        self._media = media
        self._tally = tally
        self._caching = prefix_caching
        self._number = 0
        self.pool: BlockPool | None = None
        """None while there is no runner."""
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.leaving: list[Sequence] = []
        """Ended or preempted; a step in flight still writes their blocks."""
        self.drops: list[int] = []
        """Names the runner may forget at the next step."""

    def wait(self, seq: Sequence) -> None:
        seq.place = Place.WAITING
        insort(self.waiting, seq, key=by_order)

    def hit(self, seq: Sequence) -> list[int]:
        """The cached blocks a waiting sequence may begin with. At least its last token is left to compute."""
        pool = self.pool
        if pool is None or not self._caching or seq.wants_scores:
            return []
        seq.chain.extend(seq.prompt, seq.output, seq.known)
        found = pool.match(seq.chain.hashes[: (seq.known - 1) // pool.block_size])
        tokens = len(found) * pool.block_size
        for placed in reversed(seq.request.spans):
            if not placed.item.splittable and placed.start < tokens < placed.end:
                tokens = placed.start // pool.block_size * pool.block_size
        return found[: tokens // pool.block_size]

    def admit(self, seq: Sequence, hit: list[int]) -> bool:
        """Into the batch, with blocks for all its known tokens; False where they are not to be had."""
        pool = self.pool
        assert pool is not None
        fresh = pool.blocks_for(seq.known) - len(hit)
        if not pool.has_room(hit, fresh):
            return False
        pool.share(hit)
        seq.blocks = hit + pool.take(fresh)
        seq.planned = len(hit) * pool.block_size
        seq.published = len(hit)
        seq.target = seq.known
        self._number += 1
        seq.number = self._number
        self.waiting.remove(seq)
        insort(self.running, seq, key=by_order)
        seq.place = Place.RUNNING
        return True

    def has_place(self, seq: Sequence) -> bool:
        """Nobody need be preempted for its next token."""
        pool = self.pool
        assert pool is not None
        return seq.planned < len(seq.blocks) * pool.block_size or bool(pool.free)

    def next_block(self, seq: Sequence) -> tuple[int, ...] | None:
        """The block that the next token of a decoding sequence needs, () where it has one, None where it must wait a step.
        Only younger ones are preempted for it, so the first in order always gets through."""
        pool = self.pool
        assert pool is not None
        if seq.planned < len(seq.blocks) * pool.block_size:
            return ()
        while not pool.free:
            youngest = self.running[-1]
            if self.leaving or youngest is seq:  # blocks are on their way, or all others are older
                return None
            self.preempt(youngest)
        taken = pool.take(1)
        seq.blocks += taken
        return tuple(taken)

    def advance(self, seq: Sequence, end: int) -> None:
        """Positions up to `end` have been computed and answered: full blocks of them can be shared."""
        pool = self.pool
        assert pool is not None
        if end >= len(seq.prompt):
            seq.prefilled = True
        if seq.holder is not None and end >= seq.media_end:
            self._media.release(seq)
        full = end // pool.block_size
        if self._caching and full > seq.published:
            seq.chain.extend(seq.prompt, seq.output, end)
            for index in range(seq.published, full):
                pool.publish(seq.blocks[index], seq.chain.hashes[index])
            seq.published = full

    def forget_prefixes(self) -> None:
        """Empty the prefix cache. What runs goes on and shares nothing any more: all that it makes follows from what it had."""
        if self.pool is not None:
            self.pool.forget()
        for seq in self.running + self.leaving:
            seq.published = NEVER

    def leave(self, seq: Sequence) -> None:
        """Out of the batch and the queue; where it has not ended, back into the queue as soon as its steps are answered."""
        match seq.place:
            case Place.RUNNING:
                self.running.remove(seq)
                self.drops.append(seq.number)
            case Place.WAITING:
                self.waiting.remove(seq)
            case Place.LEAVING | Place.OUT:
                return
        seq.place = Place.LEAVING
        self.leaving.append(seq)
        if not seq.flights:
            self.settle(seq)

    def preempt(self, seq: Sequence) -> None:
        """Out of the batch, to be computed anew from its tokens."""
        self._tally.preemptions += 1
        seq.request.preemptions += 1
        self.leave(seq)

    def settle(self, seq: Sequence) -> None:
        """The last step that touches a leaving sequence has been answered: blocks and embeddings go back."""
        self.leaving.remove(seq)
        if self.pool is not None:
            self.pool.give_back(seq.blocks)
        self._out(seq)

    def lose_runner(self) -> None:
        """No KV, no state, no step in flight is left: whoever ran waits again."""
        self.pool = None
        self.drops.clear()
        for seq in self.running:
            self._tally.preemptions += 1
            seq.request.preemptions += 1
        lost = self.running + self.leaving
        self.running, self.leaving = [], []
        for seq in lost:
            seq.flights = seq.pending = 0
            self._out(seq)

    def _out(self, seq: Sequence) -> None:
        seq.blocks = []
        seq.planned = seq.published = 0
        self._media.release(seq)
        seq.place = Place.OUT
        if not seq.ended:
            self.wait(seq)
