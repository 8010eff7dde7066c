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
    """Sequences with media apart: a plan need not pass ten thousand that do not concern it."""

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
        """In order; of those with media the first `LOOK`."""
        plain, media = _walk(self._plain, len(self._plain)), _walk(self.media, LOOK)
        one, other = next(plain, None), next(media, None)
        while one is not None or other is not None:
            if one is not None and (other is None or one.order < other.order):
                yield one
                one = next(plain, None)
            elif other is not None:
                yield other
                other = next(media, None)

    def _list_of(self, seq: Sequence) -> list[Sequence]:
        return self.media if seq.request.spans else self._plain


def _walk(sequences: list[Sequence], most: int) -> Iterator[Sequence]:
    """What is yielded may be removed before the next; to copy ten thousand takes too long."""
    index = 0
    while most and index < len(sequences):
        seq = sequences[index]
        yield seq
        most -= 1
        index += index < len(sequences) and sequences[index] is seq
