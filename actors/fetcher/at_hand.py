"""Files are opened by one thread, since a path may lead to a disk that sleeps. To wake a thread for
each takes longer than to read a picture: it answers for all that it has opened meanwhile at
once."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from typing import NamedTuple

from .download_table import Download

IN_HAND = 32
"""Files that the thread is given ahead, or has opened and the loop has not taken."""


class OpenFile(NamedTuple):
    descriptor: int
    """Its taker's, who closes it."""
    nbytes: int


class Opened(NamedTuple):
    """What became of one file."""

    download: Download
    made: OpenFile | Exception | None
    """None: it is not one that is read at once."""
    began: float
    """Seconds by time.monotonic."""


class FileOpener:
    """Belongs to the loop that runs when it is opened."""

    def __init__(
        self,
        open: Callable[[str], OpenFile | None],
        take: Callable[[Opened], None],
        guard: Callable[[Callable[[], None]], None] = lambda turn: turn(),
    ) -> None:
        """`open`: in the thread, by URL. `take`: in the loop, within `guard`."""
        self._open, self._take, self._guard = open, take, guard
        self._waiting: deque[Download] = deque()
        self._given: SimpleQueue[Download | None] = SimpleQueue()
        self._done: deque[Opened] = deque()
        self._told = threading.Lock()
        """Held from the call into the loop until it looks."""
        self._in_hand = 0
        self._thread = threading.Thread(target=self._run, name="files", daemon=True)

    def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # in which handlers run, not the thread's
        self._thread.start()

    def close(self) -> None:
        self._waiting.clear()
        if self._thread.is_alive():
            self._given.put(None)

    def __len__(self) -> int:
        return len(self._waiting) + self._in_hand

    def add(self, download: Download) -> None:
        self._waiting.append(download)
        self._give()

    def _give(self) -> None:
        while self._waiting and self._in_hand < IN_HAND:
            download = self._waiting.popleft()
            if download.wanted:
                self._in_hand += 1
                self._given.put(download)

    def _hear(self) -> None:
        self._told.release()
        while self._done:
            self._in_hand -= 1
            self._take(self._done.popleft())
        self._give()

    # in the thread

    def _run(self) -> None:
        while (download := self._given.get()) is not None:
            began = time.monotonic()
            made: OpenFile | Exception | None
            try:
                made = self._open(download.url)
            except Exception as error:
                made = error
            self._done.append(Opened(download, made, began))
            if self._told.acquire(blocking=False):
                try:
                    self._loop.call_soon_threadsafe(self._guard, self._hear, context=self._context)
                except RuntimeError:  # it is closed: the process ends
                    return
