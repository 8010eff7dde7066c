"""Who waits for a place in the batch, in order."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from heapq import merge
from operator import attrgetter

from .sequence import Sequence

by_order = attrgetter("order")
LOOK = 1024
"""Sequences with media that are looked at for one step: most of a long queue can do nothing before
their embeddings are there, and those are asked for from the front."""


class Queue:
    """Sequences with media apart from the others, so that a plan need not pass ten thousand that do
    not concern it."""

    def __init__(self) -> None:
        self._plain: list[Sequence] = []
        self.media: list[Sequence] = []
        """Of `waiting`, those whose prompts take embeddings; in order."""

    def __len__(self) -> int:
        return len(self._plain) + len(self.media)

    def __iter__(self) -> Iterator[Sequence]:
        return merge(self._plain, self.media, key=by_order)

    def add(self, seq: Sequence) -> None:
        insort(self._list_of(seq), seq, key=by_order)

    def remove(self, seq: Sequence) -> None:
        sequences = self._list_of(seq)
        index = bisect_left(sequences, seq.order, key=by_order)
        assert sequences[index] is seq
        del sequences[index]

    def candidates(self) -> Iterator[Sequence]:
        """In order; of those with media the first `LOOK`. What is yielded may be removed before the
        next is asked for."""
        plain, media = _Walk(self._plain, len(self._plain)), _Walk(self.media, LOOK)
        while True:
            one, other = plain.here(), media.here()
            if one is not None and (other is None or one.order < other.order):
                yield one
                plain.go_on(one)
            elif other is not None:
                yield other
                media.go_on(other)
            else:
                return

    def _list_of(self, seq: Sequence) -> list[Sequence]:
        return self.media if seq.request.spans else self._plain


class _Walk:
    """Through a list from which what it has come to may be removed; a copy of ten thousand would
    take longer than a plan."""

    def __init__(self, sequences: list[Sequence], most: int) -> None:
        self._sequences, self._left = sequences, most
        self._index = 0

    def here(self) -> Sequence | None:
        return (
            self._sequences[self._index]
            if self._left and self._index < len(self._sequences)
            else None
        )

    def go_on(self, seq: Sequence) -> None:
        self._left -= 1
        self._index += self._index < len(self._sequences) and self._sequences[self._index] is seq
