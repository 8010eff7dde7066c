"""The loads: a closed loop that finds what the engine carries, and an open one that offers a rate
whatever comes back."""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from .caller import Outcome, Tally, call

MAX_OPEN = 4000
"""Callers at once; one more ends the run: the server neither answers nor refuses."""


class Phase(NamedTuple):
    """What a load got, between two times by `time.monotonic`."""

    tally: Tally
    start: float
    end: float

    @property
    def goodput(self) -> float:
        """Whole answers per second."""
        return len(self.tally.whole(self.start, self.end)) / (self.end - self.start)

    @property
    def offered(self) -> float:
        """Requests per second."""
        return sum(self.start <= o.sent < self.end for o in self.tally.outcomes) / (
            self.end - self.start
        )

    @property
    def latencies(self) -> list[float]:
        """Seconds, of whole answers."""
        return sorted(o.ended - o.sent for o in self.tally.whole(self.start, self.end))

    def count(self, status: int) -> int:
        return sum(o.status == status for o in self.tally.outcomes)

    @property
    def broken(self) -> int:
        """Accepted and not answered whole, or never answered at all."""
        return sum(not o.whole for o in self.tally.outcomes if o.status in (0, 200))


async def closed(
    port: int, requests: list[bytes], callers: int, ramp: float, seconds: float
) -> Phase:
    """So many callers, each putting its next request when the last is answered."""
    tally, turn = Tally(), itertools.cycle(requests)
    start = time.monotonic() + ramp
    end = start + seconds

    async def work() -> None:
        while time.monotonic() < end:
            outcome = await call(port, next(turn), tally)
            if not outcome.whole:
                await asyncio.sleep(0.2)

    await asyncio.gather(*(work() for _ in range(callers)))
    return Phase(tally, start, end)


async def opened(
    port: int,
    requests: list[bytes],
    rate: float,
    ramp: float,
    seconds: float,
    during: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> tuple[Phase, "asyncio.Future[list[Outcome]]"]:
    """`rate` requests a second, evenly, for `ramp` and `seconds`; `during` is awaited when the ramp
    is over. Returns when all has been offered, with what waits for the answers that are still to
    come."""
    tally, turn = Tally(), itertools.cycle(requests)
    began = time.monotonic()
    start, end = began + ramp, began + ramp + seconds
    tasks: set[asyncio.Task[Outcome]] = set()
    watching: asyncio.Task[None] | None = None
    for number in itertools.count():
        due = began + number / rate
        if due >= end:
            break
        if during is not None and watching is None and due >= start:
            watching = asyncio.create_task(during())
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        elif number % 16 == 0:
            await asyncio.sleep(0)
        if len(tasks) >= MAX_OPEN:
            raise RuntimeError(f"{MAX_OPEN} callers wait for an answer or a refusal")
        task = asyncio.create_task(call(port, next(turn), tally))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if watching is not None:
        await watching
    return Phase(tally, start, end), asyncio.gather(*tasks)
