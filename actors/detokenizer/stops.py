"""Stop strings in a growing text, across any cuts: what may begin one is held back."""

from bisect import bisect_right
from functools import lru_cache
from typing import NamedTuple


class _Index(NamedTuple):
    """So that a token costs the same however many stop strings there are, whatever they share."""

    known: frozenset[str]
    ordered: tuple[str, ...]
    """What begins alike stands together."""
    lengths: tuple[int, ...]
    """The longest first."""


class StopFinder:
    """The earliest end of any stop string decides, and of those that end there the longest.

    `feed` takes text as it comes and returns what may be shown; after a match it takes no more.
    """

    def __init__(self, stops: tuple[str, ...], include: bool = False) -> None:
        self._index = _index(stops) if stops else None
        self._include = include
        """Show the stop string itself (`include_stop_str_in_output`)."""
        self._held = ""
        """Text that may be the beginning of a stop string; none ends in it."""

    def feed(self, new: str, armed: bool = True) -> tuple[str, str | None]:
        """What to show now, and the stop string that ended it; none may unless `armed`."""
        if self._index is None:
            return new, None
        text = self._held + new
        if armed:
            match = _match(self._index, text, len(self._held))
            if match is not None:
                start, end, stop = match
                self._held = ""
                return text[: end if self._include else start], stop
        keep = _beginning(self._index, text)
        self._held = text[keep:]
        return text[:keep], None

    def flush(self) -> str:
        """What was held back, when the text ends otherwise."""
        held, self._held = self._held, ""
        return held


@lru_cache(maxsize=64)
def _index(stops: tuple[str, ...]) -> _Index:
    """The choices of a request share one."""
    return _Index(
        frozenset(stops),
        tuple(sorted(stops)),
        tuple(sorted({len(stop) for stop in stops}, reverse=True)),
    )


def _match(index: _Index, text: str, behind: int) -> tuple[int, int, str] | None:
    """(start, end, stop string) of the match that ends first, after `behind` characters."""
    for end in range(behind + 1, len(text) + 1):
        for length in index.lengths:
            if length <= end and text[end - length : end] in index.known:
                return end - length, end, text[end - length : end]
    return None


def _beginning(index: _Index, text: str) -> int:
    """Where the longest tail of `text` that begins a stop string and is none starts; len(text)
    where there is none.

    What does not begin one is not held, so that no place in a text is looked at often.
    """
    for start in range(max(0, len(text) - index.lengths[0] + 1), len(text)):
        tail = text[start:]
        after = bisect_right(index.ordered, tail)
        if after < len(index.ordered) and index.ordered[after].startswith(tail):
            return start
    return len(text)
