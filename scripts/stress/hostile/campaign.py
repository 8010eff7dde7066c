"""A campaign: an undisturbed while, then case after case from several processes, beside calm
callers and under watch."""

import asyncio
import gc
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from .calm import Calm, quantile
from .draw import draw, kind_of
from .judge import abandoned
from .processes import Processes
from .report import Report
from .shares import Shares
from .shooters import Shooter, shooters

QUIET_SHARE, QUIET_SECONDS = 0.15, 60.0
"""Of the time, at most so long: without a hostile case."""
REHEARSAL_SECONDS = 1.0
"""From one case that is only drawn to the next, of each process."""


@dataclass(kw_only=True)
class Options:
    seed: int
    biggest: int
    """Bytes of the largest body."""
    seconds: float
    cases: int | None = None
    """At most."""
    only: tuple[int, ...] = ()
    """These numbers alone."""
    shooters: int = 6
    """Processes that put cases, each one at a time."""
    kinds: frozenset[str] = frozenset()
    """Of these kinds alone; none: of all."""

    def numbers(self) -> Iterator[int]:
        chosen: Iterable[int] = self.only or (
            n for n in count() if not self.kinds or kind_of(self.seed, n) in self.kinds
        )
        for done, number in enumerate(chosen):
            if self.cases is not None and done >= self.cases:
                return
            yield number


@contextmanager
def uncollected() -> Iterator[None]:
    """A collection that goes through all that was measured so far takes a tenth of a second: a gap
    of the reader's own."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def preferred() -> Iterator[None]:
    """Who reads the calm streams stands for callers on machines of their own: it must not wait for
    a processor here, nor count as load of the one that it is on, where the kernel then leaves two
    processes of the engine on the other. Where the machine does not let us, nothing changes."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


async def run(
    url: str, director: int, canary: Path, options: Options, say: Callable[[str], None]
) -> Report:
    """Against the server at `url`, whose director has that pid. `canary`: a folder that no pickle
    may make."""
    report = Report(seed=options.seed, biggest=options.biggest)
    port = int(url.rpartition(":")[2])
    async with (
        shooters(options.shooters, options.seed, options.biggest, port) as group,
        Calm(url) as calm,
    ):
        with preferred(), uncollected():
            await _measure(group, calm, director, options, report, say)
    report.pickled = canary.exists()
    return report


async def _measure(
    group: Sequence[Shooter],
    calm: Calm,
    director: int,
    options: Options,
    report: Report,
    say: Callable[[str], None],
) -> None:
    async with Shares(director, [each.pid for each in group]) as report.shares:
        quiet = min(QUIET_SECONDS, QUIET_SHARE * options.seconds)
        await asyncio.gather(
            *(_rehearse(each, time.monotonic() + quiet, options, n) for n, each in enumerate(group))
        )
        report.undisturbed = quantile(calm.gaps, 0.999)
        say(
            f"undisturbed for {quiet:.0f} s: {len(calm.gaps)} gaps, p99.9 "
            f"{report.undisturbed * 1000:.0f} ms"
        )
        calm.gaps.clear()
        async with Processes(director) as processes:
            numbers, until = options.numbers(), time.monotonic() + options.seconds - quiet
            report.began = time.monotonic()
            await asyncio.gather(
                *(_shoot(each, numbers, until, options, report, say) for each in group)
            )
            report.seconds = time.monotonic() - report.began
            calm.check()
    report.take(calm, processes)


async def _rehearse(shooter: Shooter, until: float, options: Options, first: int) -> None:
    """Draw what will be put, in about the same rhythm, and put nothing: what the shooters
    themselves cost is no disturbance."""
    for number in islice(options.numbers(), first, None, options.shooters):
        if time.monotonic() > until:
            return
        await shooter.draw(number)
        await asyncio.sleep(min(REHEARSAL_SECONDS, max(0.0, until - time.monotonic())))
    await asyncio.sleep(max(0.0, until - time.monotonic()))


async def _shoot(
    shooter: Shooter,
    numbers: Iterator[int],
    until: float,
    options: Options,
    report: Report,
    say: Callable[[str], None],
) -> None:
    """One process, until the numbers or the time are at an end."""
    for number in numbers:
        if time.monotonic() > until:
            return
        began = time.monotonic()
        try:
            outcome = await shooter.put(number)
        except TimeoutError:
            report.add(abandoned(number, kind_of(options.seed, number), began, time.monotonic()))
            return  # the process may still say something of this case
        report.add(outcome)
        if outcome.faults or options.only:
            say(report.line(outcome))


def describe(options: Options) -> list[str]:
    """What the chosen cases are, without putting them."""
    shown = []
    for number in options.only:
        kind, shot = draw(options.seed, number, options.biggest)
        shown.append(
            f"case {number} ({kind}): {shot.what}, {shot.size:,} bytes; begins "
            f"{b''.join(shot.pieces)[:400]!r}"
        )
    return shown
