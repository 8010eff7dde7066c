"""How long a worker has been at something, as the kernel counts it. Limits are on what it did or
could have done: the time for which a machine with other work let it wait is no fault of an item's,
and a successor would wait as long."""

from typing import NamedTuple

from ..kernel.budget import read_kernel


class Effort(NamedTuple):
    """At one moment; all in seconds."""

    at: float
    queued: float
    """For which the thread that does the work was ready to run and had no processor."""

    def since(self, before: "Effort") -> "Effort":
        return Effort(self.at - before.at, self.queued - before.queued)

    @property
    def own(self) -> float:
        """In which it ran, or waited for something else than a processor."""
        return self.at - self.queued

    @property
    def could_run(self) -> float:
        """At least two thirds of the time, so that whoever waits for it is told something in the
        end."""
        return max(self.own, self.at * 2 / 3)


def effort_of(pid: int, now: float) -> Effort:
    """Where the kernel does not tell, a process never queues."""
    try:
        queued = int(read_kernel(f"/proc/{pid}/schedstat").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return Effort(now, 0.0)
    return Effort(now, queued)
