"""Limits for one piece of work that others have a say in: the memory that the process held before and a budget on top, and CPU
time."""

import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ..protocol.shortage import is_memory

T = TypeVar("T")

AGAIN_SECONDS = 0.25
"""CPU time after which work that went on is told once more."""


class BudgetError(MemoryError):
    """The work wants more than its own budget; with less, the machine's limits would have been what failed."""


@contextmanager
def memory_budget(extra: int) -> Iterator[None]:
    """Within the block, allocations beyond `extra` bytes more than now raise BudgetError. Where the process's own limit leaves
    less than that, what fails for it stays a MemoryError (or torch's)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    own = _address_space() + extra
    limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    limit = min([own, *limits])
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    except Exception as error:
        if is_memory(error) and limit == own:
            raise BudgetError from error
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class CpuSpent(BaseException):
    """The work has used up its CPU time. No Exception: decoders take those for damage, and go on or say so."""


def within_cpu(seconds: float, work: Callable[[], T]) -> T:
    """What `work` makes. More than `seconds` of CPU time, of all threads together, raise CpuSpent as soon as it comes back to
    Python; what does not come back is killed from outside. Only in the main thread, where actors do such work and which alone
    has signals; elsewhere nothing is limited.

    No context manager: leaving one is a call, and time that is over just then would leave the timer running, which would end
    the process in the middle of something else.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    before = signal.signal(signal.SIGPROF, _spent)
    try:
        try:
            signal.setitimer(signal.ITIMER_PROF, seconds, AGAIN_SECONDS)
            return work()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
    finally:  # also where the time was over just now
        signal.signal(signal.SIGPROF, before)


def _spent(*_: Any) -> None:
    raise CpuSpent


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
