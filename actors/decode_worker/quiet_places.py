"""Where a long sound is cut: at the quietest place near the end of what a piece may hold. Pure."""

from collections.abc import Iterator, Sequence

AROUND = 2
"""Windows on each side of a place whose loudness counts for it."""


class Cutter:
    """Fed with the loudness of windows of equal length; says before which windows to cut. No piece
    has more than `longest` windows, but for the last none less than half of that, and the last none
    less than `tail`."""

    def __init__(self, longest: int, tail: int) -> None:
        self._longest = max(1, longest)
        self._tail = max(0, min(tail, self._longest // 2))
        self._loud: list[float] = []
        """Of the piece that has not ended."""
        self._begin = 0
        """Its first window."""

    def add(self, loudness: Sequence[float]) -> Iterator[int]:
        self._loud += loudness
        while len(self._loud) >= self._longest + max(1, self._tail):
            yield self._cut(self._longest)

    def end(self) -> Iterator[int]:
        """No more windows come."""
        while len(self._loud) > self._longest:
            yield self._cut(min(self._longest, len(self._loud) - self._tail))

    def _cut(self, last: int) -> int:
        at = quietest(self._loud, max(1, self._longest // 2), last)
        del self._loud[:at]
        self._begin += at
        return self._begin


def quietest(loudness: Sequence[float], first: int, last: int) -> int:
    """The place between `first` and `last`, both included, with the least around it; the last of
    several."""

    def around(at: int) -> float:
        near = loudness[max(0, at - AROUND) : at + AROUND]
        return sum(near) / len(near)

    return min(range(last, first - 1, -1), key=around)
