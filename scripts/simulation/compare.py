"""The step model against a real run: the same arrivals through one simulated engine."""

from functools import partial
from typing import NamedTuple

import msgspec

from .asking import Ask, Picture
from .clock import Clock
from .figures import at
from .real import Run, Sent
from .replica import Replica
from .times import Profile

TOLERANCE = 0.2


class Caller(NamedTuple):
    """What one saw, seconds."""

    first: float
    gaps: list[float]
    tokens: int
    last: float
    """Since the run's begin."""


class Seen(msgspec.Struct, frozen=True):
    """What the callers saw together."""

    tokens_per_second: float
    ttft_ms_mean: float
    ttft_ms_p50: float
    itl_ms_mean: float
    itl_ms_p50: float


JUDGED = ("tokens_per_second", "ttft_ms_mean", "ttft_ms_p50", "itl_ms_mean")
"""The middle gap between tokens is shown, and not judged: a step's time is drawn anew each time,
where that of a real machine is long or short for a while."""


def seen_of(runs: list[list[Caller]]) -> Seen:
    callers = [caller for run in runs for caller in run]
    firsts = [caller.first for caller in callers]
    gaps = [gap for caller in callers for gap in caller.gaps]
    seconds = sum(max(caller.last for caller in run) for run in runs)
    return Seen(
        tokens_per_second=round(sum(caller.tokens for caller in callers) / seconds, 1),
        ttft_ms_mean=round(sum(firsts) / len(firsts) * 1000, 2),
        ttft_ms_p50=round(at(firsts, 0.5) * 1000, 2),
        itl_ms_mean=round(sum(gaps) / max(1, len(gaps)) * 1000, 3),
        itl_ms_p50=round(at(gaps, 0.5) * 1000, 3),
    )


def measured(run: Run) -> list[Caller]:
    return [Caller(s.first - s.at, s.gaps, s.answer, s.last) for s in run.sent]


def simulated(profile: Profile, run: Run, seed: int = 0) -> list[Caller]:
    clock, asks = Clock(), [_ask(index, sent) for index, sent in enumerate(run.sent)]
    replica = Replica(profile, clock, lambda ask: None, seed)
    for ask in asks:
        clock.at(ask.at, partial(replica.take, ask))
    clock.run(run.seconds + 60)
    callers: list[Caller] = []
    for ask in asks:
        if ask.first is None or ask.last is None or len(ask.got) < ask.answer:
            raise RuntimeError("the simulated engine did not answer a request whole")
        callers.append(Caller(ask.first - ask.at, list(ask.gaps), ask.answer, ask.last))
    return callers


def _ask(index: int, sent: Sent) -> Ask:
    pictures = tuple(
        Picture(f"p{index}.{place}", side * side / 1000, rows, side * side)
        for place, (side, rows) in enumerate(zip(sent.sides, sent.rows, strict=True))
    )
    own = sent.tokens - sum(picture.rows for picture in pictures)
    # No two prompts begin alike, as in the run.
    text = (1000 + index, *range(own - 1))
    return Ask(f"r{index}", sent.at, text, pictures, sent.answer)


def deviations(real: Seen, model: Seen) -> dict[str, float]:
    """By figure: how much more the model says, as a part of the real one."""
    return {
        name: round(getattr(model, name) / max(1e-9, getattr(real, name)) - 1, 3)
        for name in real.__struct_fields__
    }
