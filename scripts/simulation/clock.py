"""A clock that jumps from one event to the next."""

import heapq
from collections.abc import Callable


class Clock:
    """Seconds since the beginning. Events of one moment happen in the order in which they were
    set."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + max(0.0, seconds), self._count, event))

    def at(self, moment: float, event: Callable[[], None]) -> None:
        self.after(moment - self.now, event)

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = until
