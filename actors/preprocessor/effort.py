"""How long a worker has been at something, as the kernel counts it. Limits are on what it did or could have done: the time for
which a machine with other work let it wait is no fault of an item's, and a successor would wait as long."""

import os
from pathlib import Path
from typing import NamedTuple

_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_USER_TICKS, _KERNEL_TICKS = 11, 12
"""Where they stand behind the name in a process's `stat`, counted from its state."""


class Effort(NamedTuple):
    """At one moment; all in seconds."""

    at: float
    ran: float
    """Processor time of all threads."""
    queued: float
    """For which the thread that does the work was ready to run and had no processor."""

    def since(self, before: "Effort") -> "Effort":
        return Effort(self.at - before.at, self.ran - before.ran, self.queued - before.queued)

    @property
    def could_run(self) -> float:
        """At least half of the time, so that whoever waits for it is told something in the end."""
        return max(self.at - self.queued, self.at / 2)


def effort_of(pid: int, now: float) -> Effort:
    """Where the kernel does not tell, a process counts as running all the time."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        queued = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return Effort(now, now, 0.0)
    return Effort(now, (int(stat[_USER_TICKS]) + int(stat[_KERNEL_TICKS])) * _TICK_SECONDS, queued)
