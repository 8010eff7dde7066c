"""An event loop in a thread of its own, for callers who have none."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from ...protocol.errors import EngineError

T = TypeVar("T")
CLOSED = "This LLM was closed; make another one."


class LoopThread:
    """Whatever other threads hand over is answered: by its result, or by EngineError when the loop
    has ended."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self._handing_over = threading.Lock()
        self._closed = False

    def call(self, work: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        """Run `work` on the loop. Ctrl-C here cancels it there. Raises EngineError where the loop
        has ended, TimeoutError after `seconds`."""
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
            raise EngineError(CLOSED) from None

    def close(self) -> None:
        with self._handing_over:
            self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        self._loop.run_forever()
        # Here, as whoever closes it may have a loop that runs: a notebook has.
        self._loop.run_until_complete(_cancel_others())
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
