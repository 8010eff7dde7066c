"""Which of the processes that compute has the cores: all of them while the others rest, else its
part of them. Encoders, of which there may be several, divide theirs.

Each holds a lock of the kernel for as long as it has something to compute, and looks whether the
others hold theirs: nobody waits for anybody, and what a process held is free when it has ended,
however it ended.
"""

import fcntl
import math
import os
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from ...protocol.config.roles import Threads
from ...protocol.topology import GPU_RUNNER

PAUSE_SECONDS = 0.02
"""Who has been seen to compute goes on: between two steps of streams, or two pictures, nobody takes
the other's part. A plan waits in the runner's socket before most of them; who waits longer leaves
half of the cores idle behind every picture."""
LOOK_SECONDS = 0.002
"""From one look at who else computes to the next, within a step or a picture."""


class Cores:
    """The lease of one of them. Not for two threads at once."""

    def __init__(
        self,
        run_dir: Path,
        role: str,
        threads: Threads,
        others: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
        cores: int | None = None,
    ) -> None:
        """`others`: roles that compute here, too. `cores`: of this machine, all that it may use
        unless told otherwise."""
        self._role, self._threads = role, threads
        self._clock = clock
        self._cores = cores or len(os.sched_getaffinity(0))
        self._met = dict.fromkeys(others, -math.inf)
        """When each other was last seen to compute."""
        self._look_at = -math.inf
        """When to look again."""
        self._held = False
        self.shared = False
        """Whether another computes, too, as was to be seen at the last look."""
        self._own = _open(run_dir, role)
        self._fds = {other: _open(run_dir, other) for other in others}

    def take(self, long: bool = False) -> int:
        """Threads to compute on from now on; to be asked again by and by, as the other comes and
        goes. `long`: the attention of long chunks is next."""
        alone = self._threads.long if long else self._threads.alone
        if not self._held:
            # Not where another looks just now: the next time, then.
            self._held = _lock(self._own, fcntl.LOCK_EX)
        encodes = self._role != GPU_RUNNER
        if alone == self._threads.beside and not (encodes and len(self._fds) > 1):
            self.shared = False
            return alone
        now = self._clock()
        self._look_at = now + LOOK_SECONDS
        for other, fd in self._fds.items():
            if _lock(fd, fcntl.LOCK_SH):
                fcntl.flock(fd, fcntl.LOCK_UN)
            else:
                self._met[other] = now
        computing = {other for other, met in self._met.items() if now - met < PAUSE_SECONDS}
        self.shared = bool(computing)
        beside = self._threads.beside
        return threads_among(computing, encodes, alone, beside, self._cores)

    def again(self) -> int | None:
        """Threads to go on with in the middle of it; None: it is too early to look."""
        return self.take() if self._clock() >= self._look_at else None

    def rest(self) -> None:
        """Nothing is to be computed now. Idempotent."""
        if self._held:
            fcntl.flock(self._own, fcntl.LOCK_UN)
            self._held = False

    def close(self) -> None:
        if self._own >= 0:
            for fd in (self._own, *self._fds.values()):
                os.close(fd)
        self._own, self._fds, self._held = -1, {}, False


def threads_among(
    computing: Collection[str], encodes: bool, alone: int, beside: int, cores: int
) -> int:
    """Threads of a process while these roles compute, too. Pure.

    `encodes`: it is an encoder, else the runner. `alone`: threads while nobody else computes.
    `beside`: while runner and encoders do, on `cores` that the two kinds halve; encoders divide
    what is theirs.
    """
    if not encodes:
        return beside if computing else alone
    beside_runner = GPU_RUNNER in computing
    most = beside if beside_runner else alone
    encoders = 1 + len(set(computing) - {GPU_RUNNER})
    if encoders == 1:
        return most
    share = cores - cores // 2 if beside_runner else cores
    return max(1, min(most, share // encoders))


def _open(run_dir: Path, role: str) -> int:
    return os.open(run_dir / f"{role}.cores", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(fd: int, kind: int) -> bool:
    """False where another process has it; never waits."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
