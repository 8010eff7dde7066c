"""Ids of requests that are over, kept for a while: work for them that arrives later is dropped."""

from collections.abc import Iterable, Iterator

from ...protocol.bounded import Bounded

KEPT = 4096
"""Far more than are in an engine at once: what was sent for older ones has arrived. 0.2 KB each."""


class Tombstones:
    """The last `limit` ids that ended, oldest first out."""

    def __init__(self, limit: int = KEPT) -> None:
        self._ids: Bounded[str, None] = Bounded(limit)

    def add(self, ids: Iterable[str]) -> None:
        for id in ids:
            self._ids[id] = None

    def discard(self, id: str) -> None:
        self._ids.pop(id, None)

    def __contains__(self, id: str) -> bool:
        return id in self._ids

    def __iter__(self) -> Iterator[str]:
        """Oldest first."""
        return iter(self._ids)
