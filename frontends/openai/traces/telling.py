"""Calls on their way to those who collect them: a thread of its own, before which few wait."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from .call import EndedCall

log = logging.getLogger(__name__)

WAITING = 1024
"""Calls before the thread; what comes beyond is dropped."""
TOGETHER_SECONDS = 1.0
"""How long the thread waits for more after a first call: waking it costs more than what it does for
one, and it competes with the loop for the interpreter."""
CLOSE_SECONDS = 5.0


class Collector(Protocol):
    """Called in the thread alone."""

    def tell(self, call: EndedCall) -> None: ...

    def close(self) -> None: ...


class Teller:
    """`tell` never waits. `makers`: of the collectors, called in the thread too."""

    def __init__(self, makers: tuple[Callable[[], Collector], ...]) -> None:
        self._waiting: deque[EndedCall] = deque()
        self._some, self._hurry = threading.Event(), threading.Event()
        self._closing = False
        self._makers = makers
        self._failed = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="thespis-traces", daemon=True)
        self._thread.start()

    def tell(self, call: EndedCall) -> None:
        waiting = len(self._waiting)
        if waiting >= WAITING:
            self.dropped += 1
            return
        self._waiting.append(call)
        if not self._some.is_set():
            self._some.set()
        if waiting == WAITING // 2:
            self._hurry.set()

    def close(self) -> None:
        """Waits a moment for what is on its way."""
        self._closing = True
        self._hurry.set()
        self._some.set()
        self._thread.join(CLOSE_SECONDS)
        if self.dropped:
            log.warning(
                "traces of %d calls were dropped: their collector is too slow", self.dropped
            )

    def _run(self) -> None:
        collectors: list[Collector] = []
        for make in self._makers:
            self._guarded(partial(_join, collectors, make))
        closing = False
        while not closing:
            self._some.wait()
            self._hurry.wait(TOGETHER_SECONDS)
            closing = self._closing  # before the last look at what waits
            self._some.clear()
            self._hurry.clear()
            while self._waiting:
                call = self._waiting.popleft()
                for collector in collectors:
                    self._guarded(partial(collector.tell, call))
        for collector in collectors:
            self._guarded(collector.close)

    def _guarded(self, step: Callable[[], None]) -> None:
        """A collector that fails costs its traces, and one line in the log."""
        try:
            step()
        except Exception as error:
            if not self._failed:
                log.warning("traces are lost: %s", type(error).__name__)
            self._failed = True


def _join(collectors: list[Collector], make: Callable[[], Collector]) -> None:
    collectors.append(make())
