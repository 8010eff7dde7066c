"""Why a process ended. Work in hand can be to blame unless it was a signal from outside."""

import os
import re
import signal
from contextlib import suppress
from pathlib import Path

_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
"""No work makes a process get one of these, but for SIGKILL when memory is short."""
RECENT_SECONDS = 5.0
"""A killed process is gone as soon as its memory is given back."""


def is_outside(status: int | None, silent: bool, stopped: bool, out_of_memory: bool) -> bool:
    """`status`: of waitpid. `silent`: the director killed it because its lease had ended;
    `stopped`: then it was found stopped by a signal. `out_of_memory`: the kernel has just
    killed somebody for memory."""
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


def kill_counter(
    cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Path:
    """The file that counts what the kernel has killed for lack of memory: of our own group of
    processes, whoever's limit it was; of the whole machine where groups have no such file."""
    with suppress(OSError):
        if (found := re.search(r"^0::/(.*)$", own.read_text(), re.MULTILINE)) is not None:
            events = cgroups / found[1] / "memory.events"
            if events.exists():
                return events
    return Path("/proc/vmstat")


class MemoryKills:
    """Whether the kernel has just killed a process for lack of memory."""

    def __init__(self, counter: Path, now: float) -> None:
        self._counter = counter
        self._count = self._risen = 0
        """Of all, and of those that have explained no death."""
        self._seen = now
        """When it rose last."""
        self.look(now)
        self._risen = 0

    def look(self, now: float) -> None:
        """To be called often: what is seen late seems to be new."""
        before = self._count
        with suppress(OSError):
            found = re.search(r"^oom_kill (\d+)$", self._counter.read_text(), re.MULTILINE)
            self._count = int(found[1]) if found else 0
        if self._count > before:
            self._risen, self._seen = self._risen + self._count - before, now

    def explain(self, now: float) -> bool:
        """Whether a death that is found now may be such a kill. One kill explains one death."""
        self.look(now)
        if now - self._seen > RECENT_SECONDS:
            self._risen = 0
        explained = self._risen > 0
        self._risen -= explained
        return explained
