"""Ids of requests that are over, kept for a while: work for them that arrives later is dropped."""

from collections.abc import Iterable, Iterator

KEPT = 4096
"""Far more than are in an engine at once, so whatever is still on its way for an older one has arrived; 0.2 KB each."""


class Tombstones:
    """The last `limit` ids that ended, oldest first out."""

    def __init__(self, limit: int = KEPT) -> None:
        self._limit = limit
        self._ids: dict[str, None] = {}

    def add(self, ids: Iterable[str]) -> None:
        for id in ids:
            self._ids.pop(id, None)
            self._ids[id] = None
        while len(self._ids) > self._limit:
            del self._ids[next(iter(self._ids))]

    def discard(self, id: str) -> None:
        self._ids.pop(id, None)

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    def __iter__(self) -> Iterator[str]:
        """Oldest first."""
        return iter(self._ids)
