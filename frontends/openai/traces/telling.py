"""Calls on their way to those who collect them: a thread of its own, before which few wait."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from .call import EndedCall

log = logging.getLogger(__name__)

WAITING = 1024
"""Calls before the thread; what comes beyond is dropped."""
CLOSE_SECONDS = 5.0


class Collector(Protocol):
    """Called in the thread alone."""

    def tell(self, call: EndedCall) -> None: ...

    def close(self) -> None: ...


class Teller:
    """`tell` never waits. `makers`: of the collectors, called in the thread too."""

    def __init__(self, makers: tuple[Callable[[], Collector], ...]) -> None:
        self._queue: queue.Queue[EndedCall | None] = queue.Queue(WAITING)
        self._makers = makers
        self._failed = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="thespis-traces", daemon=True)
        self._thread.start()

    def tell(self, call: EndedCall) -> None:
        try:
            self._queue.put_nowait(call)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Waits a moment for what is on its way."""
        end = time.monotonic() + CLOSE_SECONDS
        with suppress(queue.Full):
            self._queue.put(None, timeout=CLOSE_SECONDS)
            self._thread.join(max(0.0, end - time.monotonic()))
        if self.dropped:
            log.warning(
                "traces of %d calls were dropped: their collector is too slow", self.dropped
            )

    def _run(self) -> None:
        collectors: list[Collector] = []
        for make in self._makers:
            self._guarded(lambda make=make: collectors.append(make()))  # type: ignore[misc]
        while (call := self._queue.get()) is not None:
            for collector in collectors:
                self._guarded(lambda one=collector, call=call: one.tell(call))  # type: ignore[misc]
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
