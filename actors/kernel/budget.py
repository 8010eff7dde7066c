"""Limits for one piece of work that others have a say in: the memory that the process held before
and a budget on top, and CPU time."""

import gc
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ...protocol.memory.shortage import is_memory

T = TypeVar("T")

AGAIN_SECONDS = 0.25
"""CPU time after which work that went on is told once more."""


GARBAGE = 32 << 20
"""Bytes by which a process may have grown before it looks for garbage."""


class BudgetError(MemoryError):
    """The work wants more than its own budget, not more than the machine's limits."""


@contextmanager
def memory_budget(extra: int) -> Iterator[None]:
    """Within the block, allocations beyond `extra` bytes more than now, garbage aside, raise
    BudgetError. Where the process's own limits leave less than that, what fails for them stays a
    MemoryError (or torch's).

    Counted is what can be written to and is nobody else's. Of address space the first work of a
    process takes hundreds of MiB that are never touched, for its threads and libraries: it would
    have less than the same work has later.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    own = _ground.now() + extra
    limit = min([own, *_finite(soft, hard)])
    whole = min(_finite(*resource.getrlimit(resource.RLIMIT_AS)), default=None)
    alone = limit == own and (whole is None or whole - _pages(SPACE) >= extra)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    except Exception as error:
        if is_memory(error) and alone:
            raise BudgetError from error
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _finite(*limits: int) -> list[int]:
    return [limit for limit in limits if limit != resource.RLIM_INFINITY]


class _Ground:
    """What the process holds beside garbage. Work that has failed leaves its frames in cycles, with
    all that it had made; freed in the middle of the next work, that would be room for it beyond its
    budget."""

    def __init__(self) -> None:
        self._least = 0

    def now(self) -> int:
        """Bytes that can be written to and are nobody else's."""
        held = _pages(DATA)
        if held > self._least + GARBAGE:
            gc.collect()
            self._least = held = _pages(DATA)
        self._least = min(self._least, held)
        return held


_ground = _Ground()


class CpuSpent(BaseException):
    """The work has used up its CPU time. No Exception: decoders take those for damage, and go on or
    say so."""


def within_cpu(seconds: float, work: Callable[[], T]) -> T:
    """What `work` makes. More than `seconds` of CPU time, of all threads together, raise CpuSpent
    as soon as it comes back to Python; what does not come back is killed from outside. Only in the
    main thread, where actors do such work and which alone has signals; elsewhere nothing is
    limited.

    No context manager: leaving one is a call, and time that is over just then would leave the timer
    running, which would end the process in the middle of something else.
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


def read_kernel(path: str) -> bytes:
    """A few numbers that the kernel writes as they are asked for; a file object takes five times as
    long. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


SPACE, DATA = 0, 5
"""Where /proc/self/statm has them: all of the address space; what can be written to."""


def _pages(field: int) -> int:
    """In bytes."""
    return int(read_kernel("/proc/self/statm").split()[field]) * resource.getpagesize()
