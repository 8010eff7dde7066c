"""Why a process ended. Work in hand can be to blame unless it was a signal from outside."""

import os
import re
import signal
from pathlib import Path

_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
"""No work makes a process get one of these, but for SIGKILL when memory is short."""


def is_outside(status: int | None, silent: bool, stopped: bool, out_of_memory: bool) -> bool:
    """`status`: of waitpid. `silent`: the director killed it because its lease had ended;
    `stopped`: then it was found stopped by a signal. `out_of_memory`: the kernel killed somebody
    for memory since the last death."""
    if silent:
        return stopped
    return was_killed(status) and not (os.WTERMSIG(status or 0) == signal.SIGKILL and out_of_memory)


def was_killed(status: int | None) -> bool:
    """By a signal that nothing sends itself."""
    return status is not None and os.WIFSIGNALED(status) and os.WTERMSIG(status) in _OUTSIDE


def how(status: int | None, out_of_memory: bool = False) -> str:
    """In words."""
    if status is None:
        return "it is not known how"
    if not os.WIFSIGNALED(status):
        return f"exit code {os.waitstatus_to_exitcode(status)}"
    number = os.WTERMSIG(status)
    if number == signal.SIGKILL and out_of_memory:
        return "killed by the kernel, which had no memory left"
    return f"signal {number}: {signal.strsignal(number)}"


class MemoryKills:
    """How often the kernel has killed a process for lack of memory."""

    def __init__(self, table: Path = Path("/proc/vmstat")) -> None:
        self._table = table
        self._last = 0
        self._last = self._count()

    def _count(self) -> int:
        try:
            found = re.search(r"^oom_kill (\d+)$", self._table.read_text(), re.MULTILINE)
        except OSError:
            return self._last
        return int(found[1]) if found else 0

    def since_last(self) -> bool:
        """Whether there was one since the last question."""
        before, self._last = self._last, self._count()
        return self._last > before
