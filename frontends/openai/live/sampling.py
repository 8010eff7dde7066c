"""One sampling for all who watch, and none while nobody does."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator

from ....protocol.errors import Failure, RequestError

log = logging.getLogger(__name__)

PERIOD, SOONEST = 1.0, 0.25
"""Seconds between two snapshots; and after one, while processes die and return."""
MOST_WATCHERS = 16
TOO_MANY = Failure(
    "overloaded",
    f"{MOST_WATCHERS} others watch this server already; close one of these pages.",
    code="too_many_watchers",
)


class Sampling:
    """`look` makes a snapshot's bytes, and says whether the next is wanted soon.

    A watcher that is slow misses some: each reads the newest, and nothing is kept for anybody.
    """

    def __init__(
        self, look: Callable[[], Awaitable[tuple[bytes, bool]]], watched: Callable[[bool], None]
    ) -> None:
        """`watched`: told when the first watcher comes and when the last has gone."""
        self._look, self._watched = look, watched
        self._watchers = 0
        self._task: asyncio.Task[None] | None = None
        self._number, self._newest = 0, b""
        """The bytes are empty before a first snapshot of those who watch now."""
        self._news = asyncio.Event()
        """Set, and replaced, at each snapshot."""
        self._hurry = asyncio.Event()
        self._over = False

    @property
    def watchers(self) -> int:
        return self._watchers

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Raises RequestError where too many do."""
        if self._watchers >= MOST_WATCHERS:
            raise RequestError(TOO_MANY)
        self._watchers += 1
        if self._watchers == 1:
            self._watched(True)
            self._task = asyncio.create_task(self._sample())
        try:
            yield
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._stop()

    async def after(self, number: int) -> tuple[int, bytes] | None:
        """The newest snapshot and its number, once that is greater; None when it is over."""
        while (self._number <= number or not self._newest) and not self._over:
            await self._news.wait()
        return None if self._over else (self._number, self._newest)

    def hurry(self) -> None:
        """Something has changed that is worth a look at once."""
        self._hurry.set()

    def close(self) -> None:
        """Every watcher's last word has been said."""
        self._over = True
        self._tell()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task, self._newest = None, b""
        self._watched(False)

    async def _sample(self) -> None:
        loop, failed = asyncio.get_running_loop(), False
        while True:
            began = loop.time()
            self._hurry.clear()
            try:
                self._newest, soon = await self._look()
                if soon:
                    self.hurry()
            except Exception:  # nobody else depends on it; a watcher sees that nothing comes
                if not failed:
                    log.exception("no snapshot could be made")
                failed = True
            else:
                self._number += 1
                self._tell()
            await asyncio.sleep(SOONEST)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(began + PERIOD):
                    await self._hurry.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
