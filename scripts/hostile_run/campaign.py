"""A campaign: an undisturbed while, then case after case from several processes, beside calm callers and under watch."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import msgspec

from .calm import Calm, quantile
from .draw import draw, kind_of
from .judge import Outcome
from .processes import Processes
from .report import Report
from .wire import GIVE_UP_SECONDS

QUIET_SHARE, QUIET_SECONDS = 0.15, 45.0
"""Of the time, at most so long: without a hostile case."""
PATIENCE_SECONDS = GIVE_UP_SECONDS + 75.0
"""For one case, with the drawing of it."""


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
    shooters: int = 4
    """Processes that put cases, each one at a time."""
    kinds: frozenset[str] = frozenset()
    """Of these kinds alone; none: of all."""

    def numbers(self) -> Iterator[int]:
        chosen: Iterable[int] = self.only or (n for n in count() if not self.kinds or kind_of(self.seed, n) in self.kinds)
        for done, number in enumerate(chosen):
            if self.cases is not None and done >= self.cases:
                return
            yield number


async def run(url: str, director: int, canary: Path, options: Options, say: Callable[[str], None]) -> Report:
    """Against the server at `url`, whose director has that pid. `canary`: a folder that no pickle may make."""
    report = Report(seed=options.seed, biggest=options.biggest)
    async with Calm(url) as calm:
        quiet = min(QUIET_SECONDS, QUIET_SHARE * options.seconds)
        await asyncio.sleep(quiet)
        report.undisturbed = quantile(calm.gaps, 0.999)
        say(f"undisturbed for {quiet:.0f} s: {len(calm.gaps)} gaps, p99.9 {report.undisturbed * 1000:.0f} ms")
        calm.gaps.clear()
        async with Processes(director) as processes:
            numbers, until = options.numbers(), time.monotonic() + options.seconds - quiet
            port = int(url.rpartition(":")[2])
            shooters = [_shoot(numbers, until, port, options, report, say) for _ in range(options.shooters)]
            began = time.monotonic()
            await asyncio.gather(*shooters)
            report.seconds = time.monotonic() - began
            calm.check()
        report.take(calm, processes)
    report.pickled = canary.exists()
    return report


async def _shoot(
    numbers: Iterator[int], until: float, port: int, options: Options, report: Report, say: Callable[[str], None]
) -> None:
    """One process, until the numbers or the time are at an end."""
    settings = {"--seed": options.seed, "--biggest": options.biggest, "--port": port}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", f"{__package__}.shooter", *(str(word) for pair in settings.items() for word in pair)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 22,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for number in numbers:
            if time.monotonic() > until:
                break
            process.stdin.write(b"%d\n" % number)
            async with asyncio.timeout(PATIENCE_SECONDS):
                line = await process.stdout.readline()
            outcome = msgspec.json.decode(line, type=Outcome)
            report.add(outcome)
            if outcome.faults or options.only:
                say(report.line(outcome))
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def describe(options: Options) -> list[str]:
    """What the chosen cases are, without putting them."""
    shown = []
    for number in options.only:
        kind, shot = draw(options.seed, number, options.biggest)
        shown.append(f"case {number} ({kind}): {shot.what}, {shot.size:,} bytes; begins {b''.join(shot.pieces)[:400]!r}")
    return shown
