"""How many lines of batches are in the engine at once, and how many bytes of them."""

import asyncio
from collections import deque


class Places:
    def __init__(self, count: int, nbytes: int) -> None:
        self._count, self._nbytes = count, nbytes
        self._taken = self._held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, nbytes: int) -> None:
        """Wait for a place; whoever has waited longest gets it. What is larger than all of them
        together is let in alone."""
        if not self._waiting and self._fits(nbytes):
            self._add(nbytes)
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((nbytes, place))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.give(nbytes)
            raise

    def give(self, nbytes: int) -> None:
        self._taken -= 1
        self._held -= nbytes
        while self._waiting and (self._waiting[0][1].done() or self._fits(self._waiting[0][0])):
            size, place = self._waiting.popleft()
            if not place.done():
                self._add(size)
                place.set_result(None)

    def _add(self, nbytes: int) -> None:
        self._taken += 1
        self._held += nbytes

    def _fits(self, nbytes: int) -> bool:
        return not self._taken or (
            self._taken < self._count and self._held + nbytes <= self._nbytes
        )
