"""Which replica has the least of something, without a look at all of them. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence


class Levels:
    """Counts by name. Members are found by how much they have: those with as much in the order in
    which they came to have it."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """Of members, and of those that were members and have something left."""
        self.total = 0
        """Of members."""
        self._members: set[str] = set()
        self._at: dict[int, dict[str, None]] = {}
        """Members by their count; no entry is empty."""
        self._fewest = 0

    @property
    def fewest(self) -> int:
        """Of any member; 0 where there are none."""
        return self._fewest

    def join(self, name: str) -> None:
        if name not in self._members:
            self._members.add(name)
            self.total += self.counts[name]
            self._place(name)

    def leave(self, name: str) -> None:
        if name in self._members:
            self._take(name)
            self._members.remove(name)
            self.total -= self.counts[name]

    def add(self, name: str, change: int) -> None:
        """`change`: 1 or -1."""
        member = name in self._members
        if member:
            self._take(name, change)
            self.total += change
        self.counts[name] += change
        if member:
            self._place(name)
        if not self.counts[name]:
            del self.counts[name]

    def least(self, most: int) -> Sequence[str]:
        """Up to so many members, the one with the fewest first."""
        found: list[str] = []
        for name in self._upward():
            if len(found) == most:
                break
            found.append(name)
        return found

    def turn(self, name: str) -> None:
        """Of the members with as much, it is the last."""
        if name in self._members:
            same = self._at[self.counts[name]]
            del same[name]
            same[name] = None

    def _upward(self) -> Iterator[str]:
        yield from self._at.get(self._fewest, ())
        for level in sorted(self._at):
            if level > self._fewest:
                yield from self._at[level]

    def _place(self, name: str) -> None:
        count = self.counts[name]
        if not self._at or count < self._fewest:
            self._fewest = count
        self._at.setdefault(count, {})[name] = None

    def _take(self, name: str, change: int = 0) -> None:
        """`change`: by which it comes back at once."""
        count = self.counts[name]
        same = self._at[count]
        del same[name]
        if not same:
            del self._at[count]
            if count == self._fewest:
                self._fewest = count + 1 if change == 1 else min(self._at, default=0)
