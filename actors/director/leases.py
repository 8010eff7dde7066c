"""Who is silent for too long, and who was only given no time to speak. Pure.

A lease is counted in time in which its holder could have spoken. Time does not count in which one
of its threads waited for a CPU or for its own pages to be read, in which the director itself could
not listen, or, for one lease at most, in which most others were silent too. So a process that
hangs, sleeps or is stopped is found when its lease ends; one that spins is found when it has had a
lease's worth of CPU; one that is starved is left alone, since a successor would be starved as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..kernel.link import HEART
from .threads import Thread, Threads

SUSPECT = 1 / 3
"""From this part of its lease on the kernel is asked about a silent process."""
CROWD = 3
"""So many silent processes, if they are the most, have something in common."""


@dataclass
class Lease:
    """Of one incarnation: how long it has been silent."""

    heard: float
    """When it was last heard of, or made."""
    spared: float = 0.0
    """Seconds since then that do not count."""
    crowded: float = 0.0
    """Those of them that are owed to the silence of others."""
    seen: Threads | None = None
    """Its threads at the last look; None while nobody suspects it."""
    told: bool = False
    """The log says already that it is starved."""
    condemned: bool = False
    """It was found silent and is being killed, which takes its time where the kernel holds it."""

    def renew(self, now: float) -> None:
        self.heard, self.spared, self.crowded, self.seen = now, 0.0, 0.0, None

    def silence(self, now: float) -> float:
        """Seconds in which it could have spoken, and did not."""
        return now - self.heard - self.spared


@dataclass(frozen=True)
class Holder:
    """A process that must be heard of within `patience` seconds."""

    name: str
    pid: int
    lease: Lease
    patience: float
    has_heart: bool = False
    """It has a thread that does nothing but speak."""


@dataclass(frozen=True)
class Judgement:
    silent: list[Holder] = field(default_factory=list)
    """Their leases have just ended; each is named once."""
    starved: list[Holder] = field(default_factory=list)
    """They are silent for longer than a lease, but could not speak."""
    calm: bool = True
    """Nobody is suspected."""


class LeaseCourt:
    """Judges all holders together. `look`: the threads of a process, by its pid."""

    def __init__(self, look: Callable[[int], Threads], own_pid: int, now: float) -> None:
        self._look, self._own_pid = look, own_pid
        self._last = now
        self._own: Threads | None = None
        """The director's threads at the last look; None while nobody is suspected."""

    def judge(self, holders: Sequence[Holder], now: float, late: float) -> Judgement:
        """`late`: seconds by which this look comes later than it should."""
        seconds, self._last = now - self._last, now
        suspects: list[Holder] = []
        for holder in (living := [holder for holder in holders if not holder.lease.condemned]):
            holder.lease.spared += late
            if holder.lease.silence(now) > SUSPECT * holder.patience:
                suspects.append(holder)
            else:
                holder.lease.seen = None
        deaf = max(0.0, self._own_wait(bool(suspects), seconds) - late)
        crowd = len(suspects) >= CROWD and 2 * len(suspects) > len(living)
        for holder in suspects:
            self._spare(holder, max(0.0, seconds - late), deaf, crowd)
        silent = [holder for holder in suspects if holder.lease.silence(now) > holder.patience]
        for holder in silent:
            holder.lease.condemned = True
        starved = [
            holder for holder in suspects if holder not in silent and _is_starved(holder, now)
        ]
        return Judgement(silent, starved, not suspects)

    def _own_wait(self, wanted: bool, seconds: float) -> float:
        before, self._own = self._own, self._look(self._own_pid) if wanted else None
        return 0.0 if before is None or self._own is None else withheld(before, self._own, seconds)

    def _spare(self, holder: Holder, seconds: float, deaf: float, crowd: bool) -> None:
        lease = holder.lease
        before, lease.seen = lease.seen, self._look(holder.pid)
        if (main := lease.seen.get(holder.pid)) is not None and main.stopped:
            return
        starved = 0.0
        if before is not None and (not holder.has_heart or has_heart(lease.seen)):
            starved = withheld(before, lease.seen, seconds)
        spared = min(seconds, starved + deaf)
        if crowd:
            more = min(seconds - spared, holder.patience - lease.crowded)
            lease.crowded += more
            spared += more
        lease.spared += spared


def _is_starved(holder: Holder, now: float) -> bool:
    """A moment by which the director was late keeps nobody from speaking."""
    lease = holder.lease
    return now - lease.heard > holder.patience and lease.spared > SUSPECT * holder.patience


def has_heart(threads: Threads) -> bool:
    return any(thread.name == HEART for thread in threads.values())


def withheld(before: Threads, after: Threads, seconds: float) -> float:
    """Of the last `seconds`, how many the process wanted to run for and was kept from it: those of
    its most delayed thread, since any of them may hold what the one that speaks needs."""
    return max(
        (_withheld(before.get(tid), thread, seconds) for tid, thread in after.items()), default=0.0
    )


def _withheld(before: Thread | None, after: Thread, seconds: float) -> float:
    if before is None:
        return min(seconds, after.waited)
    waited = after.waited - before.waited
    if before.state == after.state == "R":  # a wait that has not ended yet is not counted yet
        waited = max(waited, seconds - (after.ran - before.ran))
    if after.state == "D" and after.faults > before.faults:
        waited = seconds  # memory is short, and its pages come back one by one
    return min(max(waited, 0.0), seconds)
