"""How far the reading of weights is, for whoever watches a start."""

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

EVERY_SECONDS = 3.0
MIB = 1 << 20


class Progress:
    """Of `total` bytes; a line every few seconds, and one at the end."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._done, self._clock = total, 0, clock
        self._began = self._said = clock()

    def add(self, count: int) -> None:
        self._done += count
        now = self._clock()
        if now - self._said >= EVERY_SECONDS:
            self._said = now
            log.info(
                "weights: %.0f %%, %.0f of %.0f MiB, after %.0f s",
                100 * self._done / max(self._total, self._done, 1),
                self._done / MIB,
                max(self._total, self._done) / MIB,
                now - self._began,
            )

    def end(self) -> None:
        seconds = self._clock() - self._began
        log.info("weights: all are read, %.1f MiB in %.1f s", self._done / MIB, seconds)
