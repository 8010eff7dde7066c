"""Where a sequence may be cut: what is computed at once, and what others may begin with. Pure."""

from bisect import bisect_left
from operator import itemgetter

from .sequence import Sequence


class Pieces:
    """As it suits a step: rounding depends on company."""

    def reach(self, seq: Sequence, start: int, end: int) -> int:
        """How far up to `end` a prefill from `start` may go in one step: not into an item that is
        not there, nor through the middle of what must stay whole; `start`: nowhere."""
        end = min(end, seq.items_reach(start, end))
        stretches = seq.request.prepared.unbroken
        index = bisect_left(stretches, end, key=itemgetter(1))
        cut = index < len(stretches) and stretches[index][0] < end < stretches[index][1]
        return max(start, stretches[index][0]) if cut else end

    def whole_at(self, seq: Sequence, start: int) -> int:
        """How much must be computed at once from `start` on, if its items are there; else 0."""
        for first, last in seq.request.prepared.unbroken:
            if first <= start < last:
                return last - start if seq.items_reach(start, last) == last else 0
        return 0

    def may_part(self, seq: Sequence, tokens: int, seen: int = 0) -> bool:
        """Whether one may go on from the first `tokens` tokens of another: not within a stretch
        that must stay whole, unless it is no longer than what every token looks back, `seen`."""
        return not any(
            first < tokens < last and last - first > seen
            for first, last in seq.request.prepared.unbroken
        )

    def shared(self, seq: Sequence, end: int) -> int:
        """How many of its first `end` tokens lie in pieces that are alike for all who begin so."""
        return end


class Tiles(Pieces):
    """By the sequence alone, so that each of its numbers is computed by the same operations of the
    same shapes whatever else runs, and whatever was cached, preempted or lost.

    A prompt is cut at every multiple of `size` and at both ends of each stretch that must stay
    whole, in which there is no other cut; an answer, also one that is computed again, goes token by
    token. Only whole tiles of a prompt are shared.
    """

    def __init__(self, size: int) -> None:
        """`size`: tokens, a multiple of the block size."""
        self._size = size

    def reach(self, seq: Sequence, start: int, end: int) -> int:
        last = start + self.whole_at(seq, start)
        return last if last <= end else start

    def whole_at(self, seq: Sequence, start: int) -> int:
        last = self._end(seq, start)
        return last - start if super().reach(seq, start, last) == last else 0

    def may_part(self, seq: Sequence, tokens: int, seen: int = 0) -> bool:
        return (
            tokens % self._size == 0 and tokens <= len(seq.prompt) and super().may_part(seq, tokens)
        )

    def shared(self, seq: Sequence, end: int) -> int:
        return min(end, len(seq.prompt) - len(seq.prompt) % self._size)

    def _end(self, seq: Sequence, start: int) -> int:
        """One past the piece that begins at `start`."""
        prompt = len(seq.prompt)
        if start >= prompt:
            return start + 1
        end = min(start - start % self._size + self._size, prompt)
        for first, last in seq.request.prepared.unbroken:
            if first <= start < last:
                return last
            if start < first < end:
                return first
        return end


def pieces(tile: int | None) -> Pieces:
    """`tile`: tokens, of an engine whose answers do not depend on their company."""
    return Pieces() if tile is None else Tiles(tile)
