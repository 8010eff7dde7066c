"""Requests that come together begin together. Pure.

An engine that rests could compute the first one's prompt at once. The others' prompts would then be
computed beside its answer, one by one, in steps that its stream has to wait for. In one step all
take as long as one after the other, and no stream waits.
"""

import math
from collections.abc import Callable, Iterable
from itertools import islice

from .costs import Costs
from .pace import Pace
from .sequence import Sequence

PART = 1 / 32
"""Of what their prompts take, for which those that are here wait for others."""
MOST_SECONDS = 0.02
LEAST_SECONDS = 0.001
"""Who would wait for less does not: the loop's clock is no finer."""
ENOUGH = 16
"""So many are looked at."""


class Company:
    """Of one engine."""

    def __init__(self, costs: Costs, pace: Pace) -> None:
        self._costs, self._pace = costs, pace

    def awaited_until(
        self, waiting: Iterable[Sequence], cached: Callable[[Sequence], int], now: float
    ) -> float:
        """The moment, by time.monotonic, up to which the first step should wait for more than
        these; it lies in the past where they have waited enough, or need not. `cached`: how many of
        its first tokens need not be computed."""
        first, seconds = math.inf, 0.0
        for seq in islice(waiting, ENOUGH):
            submitted = seq.request.submitted
            if not seq.request.prepared.streamed or submitted + MOST_SECONDS <= now:
                return 0.0  # nobody reads along, or it has waited for something else
            first = min(first, submitted)
            start = cached(seq)
            seconds += PART * self._pace.seconds(self._costs.span(start, seq.known - start))
            if seconds >= MOST_SECONDS:
                break
        return first + min(seconds, MOST_SECONDS) if seconds >= LEAST_SECONDS else 0.0
