"""Where a sequence may be cut: what the runner computes of it at once, and what others may begin
with. Pure."""

from .sequence import Sequence


class Pieces:
    """As it suits a step: rounding depends on company."""

    fixed = False
    """Cuts follow from the sequence alone."""

    def reach(self, seq: Sequence, start: int, end: int) -> int:
        """How far up to `end` a prefill from `start` may go in one step; `start`: nowhere."""
        return seq.reach(start, end)

    def whole_at(self, seq: Sequence, start: int) -> int:
        """The length of what must be computed in one step from `start` on, where its items are
        there; else 0."""
        return seq.whole_at(start)

    def may_part(self, seq: Sequence, tokens: int) -> bool:
        """Whether another sequence may go on from its first `tokens` tokens, or this one from
        another's."""
        return seq.may_end(tokens)

    def shared(self, seq: Sequence, end: int) -> int:
        """How many of its first `end` tokens lie in pieces that would be the same in every sequence
        that begins with them."""
        return end


class Tiles(Pieces):
    """By the sequence alone, so that each of its numbers is computed by the same operations of the
    same shapes whatever else runs, and whatever was cached, preempted or lost.

    A prompt is cut at every multiple of `size` and at both ends of each stretch that must stay
    whole, in which there is no other cut; an answer, also one that is computed again, goes token by
    token. Only whole tiles of a prompt are shared.
    """

    fixed = True

    def __init__(self, size: int) -> None:
        """`size`: tokens, a multiple of the block size."""
        self._size = size

    def reach(self, seq: Sequence, start: int, end: int) -> int:
        last = start + self.whole_at(seq, start)
        return last if last <= end else start

    def whole_at(self, seq: Sequence, start: int) -> int:
        last = self._end(seq, start)
        return last - start if seq.reach(start, last) == last else 0

    def may_part(self, seq: Sequence, tokens: int) -> bool:
        return tokens % self._size == 0 and tokens <= len(seq.prompt) and seq.may_end(tokens)

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
