"""Which of the two processes that compute has the cores: all of them while the other rests, else
its part of them.

Each holds a lock of the kernel for as long as it has something to compute, and looks whether the
other holds its own: nobody waits for anybody, and what a process held is free when it has ended,
however it ended.
"""

import fcntl
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

from ...protocol.config.roles import Threads
from ...protocol.topology import ENCODER_CACHE, GPU_RUNNER

PAUSE_SECONDS = 0.02
"""Who has been seen to compute goes on: between two steps of streams, or two pictures, nobody takes
the other's part. A plan waits in the runner's socket before most of them; who waits longer leaves
half of the cores idle behind every picture."""
LOOK_SECONDS = 0.002
"""From one look at who else computes to the next, within a step or a picture."""
_OTHER = {GPU_RUNNER: ENCODER_CACHE, ENCODER_CACHE: GPU_RUNNER}


class Cores:
    """The lease of one of them. Not for two threads at once."""

    def __init__(
        self,
        run_dir: Path,
        role: str,
        threads: Threads,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threads = threads
        self._clock = clock
        self._met = -math.inf
        """When the other was last seen to compute."""
        self._look_at = -math.inf
        """When to look again."""
        self._held = False
        self.shared = False
        """Whether the other computes, too, as was to be seen at the last look."""
        self._fds = [_open(run_dir, name) for name in (role, _OTHER[role])]

    def take(self, long: bool = False) -> int:
        """Threads to compute on from now on; to be asked again by and by, as the other comes and
        goes. `long`: the attention of long chunks is next."""
        alone = self._threads.long if long else self._threads.alone
        own, other = self._fds
        if not self._held:
            # Not where the other looks just now: the next time, then.
            self._held = _lock(own, fcntl.LOCK_EX)
        if alone == self._threads.beside:
            self.shared = False
            return alone
        now = self._clock()
        self._look_at = now + LOOK_SECONDS
        if _lock(other, fcntl.LOCK_SH):
            fcntl.flock(other, fcntl.LOCK_UN)
        else:
            self._met = now
        self.shared = now - self._met < PAUSE_SECONDS
        return self._threads.beside if self.shared else alone

    def again(self) -> int | None:
        """Threads to go on with in the middle of it; None: it is too early to look."""
        return self.take() if self._clock() >= self._look_at else None

    def rest(self) -> None:
        """Nothing is to be computed now. Idempotent."""
        if self._held:
            fcntl.flock(self._fds[0], fcntl.LOCK_UN)
            self._held = False

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds, self._held = [], False


def _open(run_dir: Path, role: str) -> int:
    return os.open(run_dir / f"{role}.cores", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(fd: int, kind: int) -> bool:
    """False where another process has it; never waits."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
