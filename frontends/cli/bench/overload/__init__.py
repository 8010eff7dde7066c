"""`thespis bench overload`: ten times what an engine carries, and what those get who are let in.

A closed loop of callers finds what it carries; then that rate is offered evenly, then ten times
that rate, and a little later once again. The exit code is 1 where a bound is missed.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from tqdm import tqdm

from .....protocol.config.engine import EngineConfig
from .....protocol.config.server import ServerConfig
from .....protocol.errors import EngineError
from ...api import Api
from ...flags import add_flags, add_model, build
from ...server import serving
from ..asking import add_seed_argument
from ..numbers import number
from ..report import progress
from ..start import memory
from .caller import Tally, call
from .phases import closed, opened
from .refusals import Refusals
from .report import Report, Summary
from .requests import make_requests

LINE = "an engine that is offered ten times what it carries: who is answered, and how soon refused"
TIMES, LOADS = 10, 4
RUNNER = "thespis gpu-runner"
DEFAULTS = {"mm_processor_cache_gb": 0.0}
"""Of the engine, unless told otherwise: every picture is decoded anew, as a new caller's is."""


class Pace(NamedTuple):
    """Seconds."""

    ramp: float = 3.0
    """Of each load, before it is measured."""
    measured: float = 15.0
    calm: float = 5.0
    """From the flood's end to the load after it."""

    @property
    def whole(self) -> float:
        """Of one round, where no answer keeps anybody waiting."""
        return LOADS * (self.ramp + self.measured) + self.calm


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    for name, default, most, text in (
        ("seconds", 15, 300, "that each of the four loads is measured for"),
        ("rounds", 1, 20, "of all of it; the bounds hold for the medians"),
        ("callers", 64, 4096, "of the closed loop: as many as the engine runs at once"),
        ("max-tokens", 256, 1 << 20, "of each answer"),
    ):
        help = f"{text} (default: %(default)s)"
        reader = number(1, most)
        parser.add_argument(f"--{name}", type=reader, default=default, metavar="N", help=help)
    add_seed_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    add_flags(parser.add_argument_group("engine"), EngineConfig, skip=("model", "seed", "runner"))


def run(given: argparse.Namespace) -> int:
    import uvloop

    began = time.monotonic()

    def say(text: str) -> None:
        tqdm.write(f"{time.monotonic() - began:7.1f} {text}", file=sys.stderr)

    settings = argparse.Namespace(**DEFAULTS | vars(given))
    pace = Pace(measured=given.seconds)
    with serving(build(EngineConfig, settings, seed=0), ServerConfig(port=0)) as server:
        whole = uvloop.run(measure(server.url, server.director, given, pace, say))
    print(json.dumps(whole.as_dict(), indent=1) if given.json else whole.tables())
    return 0 if whole.good else 1


async def measure(
    url: str, director: int, given: argparse.Namespace, pace: Pace, say: Callable[[str], None]
) -> Summary:
    """`director`: its pid, below which all processes of the engine are. Raises EngineError for an
    engine that answers nothing."""
    async with Api(url) as api:
        requests = make_requests(given.seed, given.max_tokens, await api.model(None))
    port = int(url.rpartition(":")[2])
    requests = await answered(port, requests, say)
    async with ticking(given.rounds * pace.whole):
        return Summary(
            [
                await one_round(url, director, requests, given.callers, pace, say)
                for _ in range(given.rounds)
            ]
        )


@contextlib.asynccontextmanager
async def ticking(seconds: float) -> AsyncIterator[None]:
    """A bar of the time that it takes, at a terminal."""

    async def tick() -> None:
        while True:
            await asyncio.sleep(1)
            bar.update(min(1, bar.total - bar.n))

    with progress(round(seconds), "seconds") as bar:
        ticks = asyncio.create_task(tick())
        try:
            yield
        finally:
            ticks.cancel()


async def answered(port: int, requests: list[bytes], say: Callable[[str], None]) -> list[bytes]:
    """Those that this model takes; each is put once, which also makes what is made once."""
    tally = Tally()
    outcomes = [await call(port, request, tally) for request in requests]
    taken = [one for one, outcome in zip(requests, outcomes, strict=True) if outcome.whole]
    if len(taken) < len(requests):
        statuses = Counter(outcome.status for outcome in outcomes if not outcome.whole)
        named = ", ".join(f"{count} with {status}" for status, count in statuses.items())
        say(f"of {len(requests)} requests this model refuses {named}")
    if not taken:
        raise EngineError("The engine answers none of the requests: there is nothing to measure.")
    return taken


async def one_round(
    url: str,
    director: int,
    requests: list[bytes],
    callers: int,
    pace: Pace,
    say: Callable[[str], None],
) -> Report:
    port = int(url.rpartition(":")[2])
    memories: dict[str, float] = {}

    async def note(moment: str) -> None:
        held = await asyncio.to_thread(memory, director)
        memories[moment] = sum(mib for title, mib in held.items() if title != RUNNER)

    found = await closed(port, requests, callers, pace.ramp, pace.measured)
    rate = found.goodput
    if not rate:
        raise EngineError("Nothing was answered within --seconds: give it more.")
    say(f"a closed loop of {callers} callers carries {rate:.1f} answers/s")
    before, rest = await opened(port, requests, rate, pace.ramp, pace.measured)
    await rest
    say(f"1x: {before.goodput:.1f} answers/s")
    await note("before")
    first = await Refusals.scrape(url)
    flood, rest = await opened(
        port, requests, TIMES * rate, pace.ramp, pace.measured, lambda: note("flood begins")
    )
    over = time.monotonic()
    await note("flood ends")
    say(f"{TIMES}x: {flood.goodput:.1f} answers/s of {flood.offered:.0f} offered")
    refusals = (await Refusals.scrape(url)).since(first)
    await asyncio.sleep(max(0.0, over + pace.calm - time.monotonic()))
    after, last = await opened(port, requests, rate, pace.ramp, pace.measured)
    await asyncio.gather(rest, last)
    say(f"1x, {pace.calm:g} s after: {after.goodput:.1f} answers/s")
    await note("after")
    return Report(rate, before, flood, after, refusals, memories)
