"""Why a process ended: of its own accord, or by a signal from outside. Work in hand can be to blame only for the first."""

import os
import re
import signal
from pathlib import Path

_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
"""Nothing that a process computes sends it one of these, but for the kernel's SIGKILL when memory is short."""


def is_outside(status: int | None, silent: bool, stopped: bool, out_of_memory: bool) -> bool:
    """`status`: of waitpid. `silent`: the director killed it because its lease had ended; `stopped`: then it was found
    stopped by a signal. `out_of_memory`: the kernel killed somebody for memory since the last death."""
    if silent:
        return stopped
    if status is None or not os.WIFSIGNALED(status):
        return False
    number = os.WTERMSIG(status)
    return number in _OUTSIDE and not (number == signal.SIGKILL and out_of_memory)


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
