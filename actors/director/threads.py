"""What the kernel says of threads: whether each runs, waits for a CPU, or has been stopped."""

import os
import threading
from pathlib import Path
from typing import NamedTuple

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_MAJOR_FAULTS, _USER_TICKS, _KERNEL_TICKS = 9, 11, 12
"""Where they stand behind the name in a thread's `stat`, counted from its state."""


class Thread(NamedTuple):
    """One thread, as counted since its start."""

    name: str
    state: str
    """`R`: it runs or waits for a CPU; `D`: it waits for a disk; `T`, `t`: it is stopped; others:
    it waits for an event."""
    ran: float
    """Seconds on a CPU."""
    waited: float
    """Seconds in a run queue, of waits that have ended. 0 where the kernel does not count them."""
    faults: int
    """Pages that had to be read from a disk."""

    @property
    def stopped(self) -> bool:
        """By SIGSTOP and the like, which stop all threads of a process."""
        return self.state in "Tt"


Threads = dict[int, Thread]
"""By thread id."""


def threads_of(pid: int) -> Threads:
    """Those of a process and of its children; empty where there is none any more."""
    found: Threads = {}
    for one in (pid, *children_of(pid)):
        for thread in _names(f"/proc/{one}/task"):
            if (seen := _look(f"/proc/{one}/task/{thread}")) is not None:
                found[int(thread)] = seen
    own = threading.get_native_id()
    if own in found:
        found[own] = found[own]._replace(state="S")  # it runs only because it looks
    return found


def children_of(pid: int) -> list[int]:
    """None where the kernel does not list them."""
    found: list[int] = []
    for thread in _names(f"/proc/{pid}/task"):
        try:
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
        except OSError:
            continue
    return found


def is_stopped(pid: int) -> bool:
    seen = _look(f"/proc/{pid}")
    return seen is not None and seen.stopped


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _look(folder: str) -> Thread | None:
    """None: it has ended."""
    try:
        with open(f"{folder}/stat", "rb", buffering=0) as file:
            head, _, tail = file.read().rpartition(b")")
    except OSError:
        return None
    fields = tail.split()
    if len(fields) <= _KERNEL_TICKS:
        return None
    ran = (int(fields[_USER_TICKS]) + int(fields[_KERNEL_TICKS])) * _TICK_SECONDS
    waited = 0.0
    try:
        with open(f"{folder}/schedstat", "rb", buffering=0) as file:
            ran, waited = (int(number) / 1e9 for number in file.read().split()[:2])
    except (OSError, ValueError):
        pass  # a kernel without these counts; the ticks are coarse and will do
    name = head.partition(b"(")[2].decode("utf-8", "replace")
    return Thread(name, fields[0].decode(), ran, waited, int(fields[_MAJOR_FAULTS]))
