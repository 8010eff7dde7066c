"""An end to Python code that a caller's words keep busy. What runs in C is not reached by it, but by the end of its process."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cpu_limit(seconds: float, error: Exception) -> Iterator[None]:
    """Raises `error` in the block when its time is over. CPU time, so that a loaded machine changes nothing; only in the main
    thread, where actors do such work and which alone has signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)
