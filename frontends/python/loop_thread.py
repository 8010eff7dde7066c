"""An event loop in a thread of its own, for callers who have none."""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from ...protocol.errors import EngineError

T = TypeVar("T")
CLOSED = "This LLM was closed; make another one."
FORKED = "This LLM was made by another process, of which this one is a fork; make another one."
INSIDE = "This LLM was called by the thread that would have to answer; call it from another one."


class LoopThread:
    """Whatever other threads hand over is answered: by its result, or by EngineError when the loop
    has ended."""

    def __init__(self, name: str) -> None:
        self._owner = os.getpid()
        self._handing_over = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def forked(self) -> bool:
        """Whether this is a fork of the process that made it: the thread is not here."""
        return os.getpid() != self._owner

    @property
    def inside(self) -> bool:
        """Whether this is its thread, which cannot wait for itself."""
        return threading.current_thread() is self._thread

    def call(self, work: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        """Run `work` on the loop. Ctrl-C here cancels it there. Raises EngineError where the loop
        has ended or nobody could answer, TimeoutError after `seconds`."""
        if self.forked or self.inside:
            work.close()
            raise EngineError(FORKED if self.forked else INSIDE)
        with self._handing_over:  # or close() would not see it
            if self._closed:
                work.close()  # or Python warns that nobody awaited it
                raise EngineError(CLOSED)
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(seconds)
        except KeyboardInterrupt:
            future.cancel()
            raise
        except concurrent.futures.CancelledError:
            if not self._closed:  # the work's own
                raise
            raise EngineError(CLOSED) from None

    def close(self, seconds: float | None = None) -> None:
        """Returns when the loop has ended, or after `seconds`; at once in its own thread.
        Idempotent, for any thread."""
        if self.forked:
            return
        with self._handing_over:
            if not self._closed:
                self._closed = True
                self._loop.call_soon_threadsafe(self._loop.stop)
        if not self.inside:
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:  # work that raises SystemExit ends it, too
            with self._handing_over:
                self._closed = True
            # Here, as whoever closes it may have a loop that runs: a notebook has.
            self._loop.run_until_complete(_cancel_others())
            self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
