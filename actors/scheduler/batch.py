"""Who waits, runs and leaves, and what they hold. Sequences change place here alone."""

import sys
from bisect import insort
from functools import partial

from .books import Books, Hit, Holding
from .media import Embeddings
from .outbox import Tally
from .pieces import Pieces
from .queue import Queue, by_order
from .sequence import Place, Sequence

NOTHING = Hit()
NEVER = sys.maxsize
"""As `Sequence.published`: none of its blocks is shared any more."""


class Batch:
    """The places of all sequences. `running` is in order, too; its last is the youngest."""

    def __init__(
        self, media: Embeddings, tally: Tally, pieces: Pieces, prefix_caching: bool, step: int
    ) -> None:
        """`step`: tokens computed in one, at most."""
        self._media, self._tally, self._pieces = media, tally, pieces
        self._caching, self._step = prefix_caching, step
        self._number = 0
        self._hashing = 0
        """Blocks whose hashes may still be made for this step."""
        self.books: Books | None = None
        """None while there is no runner."""
        self.waiting = Queue()
        self.running: list[Sequence] = []
        self.leaving: list[Sequence] = []
        """Ended or preempted; a step in flight still writes their blocks."""
        self.drops: list[int] = []
        """Names the runner may forget at the next step."""

    def wait(self, seq: Sequence) -> None:
        seq.place = Place.WAITING
        self.waiting.add(seq)

    def may_hash(self, blocks: int) -> None:
        """Before each step: hashes of so many blocks may be made for it."""
        self._hashing = blocks

    def hit(self, seq: Sequence) -> Hit | None:
        """What a waiting sequence may begin with; at least its last token is left to compute. None:
        it is not known in this step, whose streams would wait for its hashes."""
        books = self.books
        if books is None or not self._caching or seq.wants_scores or seq.request.whole:
            return NOTHING
        made = len(seq.chain.hashes)
        missing = max(0, seq.known // books.block_size - made)
        seq.chain.extend(
            seq.prompt, seq.output, (made + min(missing, self._hashing)) * books.block_size
        )
        if missing > self._hashing:
            self._hashing = 0
            return None
        self._hashing -= missing
        # A window lets go of what the rest of a longer stretch may look at; elsewhere a stretch may
        # be found in part.
        may_end = partial(self._pieces.may_part, seq, seen=books.narrowest)
        hit = books.find(seq.chain.hashes[: (seq.known - 1) // books.block_size], may_end)
        return self._further(seq, hit) if books.copies else hit

    def _further(self, seq: Sequence, hit: Hit) -> Hit:
        """With what is known of the next block, too, but never all of it: one that is alike may be
        another's by what follows it, such as the rest of an item."""
        books, chain = self.books, seq.chain
        assert books is not None
        behind = chain.before(hit.tokens // books.block_size)
        end = min(hit.tokens + books.block_size, seq.known) - 1
        if end <= hit.tokens or not books.followed(behind):
            return hit
        content = chain.content(seq.prompt, seq.output, hit.tokens, end)
        if content is None:
            return hit
        further = books.further(hit, behind, content)
        return further if self._pieces.may_part(seq, further.tokens) else hit

    def admit(self, seq: Sequence, hit: Hit) -> bool:
        """Into the batch, with room for its known tokens, or the next; False: there is none."""
        books = self.books
        assert books is not None
        holding = books.open(hit, seq.known, self._step)
        if holding is None:
            return False
        seq.holding = holding
        seq.planned = hit.tokens
        seq.published = hit.tokens // books.block_size
        seq.landmarks = self._landmarks(seq, hit, books)
        seq.target = seq.known
        self._number += 1
        seq.number = self._number
        self.waiting.remove(seq)
        insort(self.running, seq, key=by_order)
        seq.place = Place.RUNNING
        return True

    def has_place(self, seq: Sequence, tokens: int = 1, others: int = 0) -> bool:
        """Nobody need be preempted for its next ones, nor for a block for each of `others`."""
        books = self.books
        assert books is not None
        return not books.lacks(seq.holding, seq.planned + tokens, others)

    def _landmarks(self, seq: Sequence, hit: Hit, books: Books) -> tuple[int, ...]:
        """Where a prefill stops to have its states kept: where it parts from others, its end."""
        if books.states is None or not self._caching:
            return ()
        last = (seq.known - 1) // books.block_size * books.block_size
        while last and not self._pieces.may_part(seq, last):
            last -= books.block_size
        return tuple(sorted({place for place in (hit.known, last) if place > hit.tokens}))

    def victim(self, seq: Sequence) -> Sequence | None:
        """Whom to preempt for a sequence that lacks blocks; None where it must wait a step. Only
        younger ones are, so the first in order always gets through."""
        youngest = self.running[-1]
        # blocks are on their way, or all others are older
        return None if self.leaving or youngest is seq else youngest

    def snapshot(self, seq: Sequence, end: int) -> int:
        """A slot for the states of a prefill that stops at `end`; 0: they are not to be kept."""
        books = self.books
        if books is None or end not in seq.landmarks or seq.published == NEVER:
            return 0
        seq.chain.extend(seq.prompt, seq.output, end)
        return books.snapshot(seq.chain.hashes[end // books.block_size - 1])

    def shelve(self, seq: Sequence, end: int, slot: int, made: bool) -> None:
        """The step with a snapshot has been answered. `made`: its states are right."""
        assert self.books is not None
        made = made and seq.published != NEVER
        self._tally.snapshots_taken += made
        self.books.shelve(
            slot, seq.chain.hashes[end // self.books.block_size - 1] if made else None
        )

    def advance(self, seq: Sequence, end: int) -> None:
        """Positions up to `end` have been computed and answered: full blocks of them can be shared,
        and what lies behind every window goes back."""
        books = self.books
        assert books is not None
        seq.computed = end
        if end >= len(seq.prompt):
            seq.prefilled = True
        if seq.holder is not None and end >= seq.media_end:
            self._media.release(seq)
        full = self._pieces.shared(seq, end) // books.block_size
        if self._caching and full > seq.published:
            seq.chain.extend(seq.prompt, seq.output, end)
            books.publish(seq.holding, seq.chain.hashes, seq.published, full)
            if books.copies:
                for index in range(seq.published, full):
                    self._follow(seq, index, (index + 1) * books.block_size)
            seq.published = full
        books.let_go(seq.holding, end)

    def _follow(self, seq: Sequence, index: int, end: int) -> None:
        """Others may begin with a copy of a block, of which positions up to `end` are computed."""
        books, chain = self.books, seq.chain
        assert books is not None
        content = chain.content(seq.prompt, seq.output, index * books.block_size, end)
        if content is not None:
            behind, full = chain.before(index), end % books.block_size == 0
            digest = chain.hashes[index] if full else chain.part(behind, content)
            books.follow(seq.holding, index, digest, behind, content)

    def _leave_last(self, seq: Sequence, books: Books) -> None:
        """Of an answer that has ended the last block, which is not full: a chat goes on from it. A
        stop string may have been found while it waited, or was computed anew."""
        end = seq.known - 1  # the last token has never been an input
        if (
            books.copies
            and self._caching
            and seq.finish is not None
            and seq.computed >= end
            and seq.published == end // books.block_size != NEVER
            and end % books.block_size
            and self._pieces.shared(seq, end) == end
        ):
            self._follow(seq, seq.published, end)

    def forget_prefixes(self) -> None:
        """Empty the prefix cache. What runs goes on and shares nothing that follows from it."""
        if self.books is not None:
            self.books.forget()
        for seq in self.running + self.leaving:
            seq.published = NEVER

    def leave(self, seq: Sequence) -> None:
        """Out of the batch and the queue; where it has not ended, back into the queue as soon as
        its steps are answered."""
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
        """No step touches a leaving sequence any more: blocks and embeddings go back."""
        self.leaving.remove(seq)
        if self.books is not None:
            self._leave_last(seq, self.books)
            self.books.close(seq.holding)
        self._out(seq)

    def lose_runner(self) -> None:
        """No KV, no state, no step in flight is left: whoever ran waits again."""
        self.books = None
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
        seq.holding = Holding()
        seq.planned = seq.computed = seq.published = 0
        self._media.release(seq)
        seq.place = Place.OUT
        if not seq.ended:
            self.wait(seq)
