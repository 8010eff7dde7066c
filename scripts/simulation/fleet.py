"""Many replicas behind routers: requests arrive, replicas die, streams go on elsewhere."""

import random
import time
from bisect import insort
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from thespis.protocol.errors import RequestError

from .asking import Ask
from .clock import Clock
from .replica import Replica
from .routing import Router, Wanted
from .times import Profile

NOTICED_SECONDS = 0.5
"""From a replica's death to the moment at which its routers know: a closed connection is seen at
once, a node's end by its health check."""
REPLACED_SECONDS = 10.0
"""Until a new one takes its place."""
TRIES = 3
"""Replicas that are asked before a request is refused."""


class Plan(msgspec.Struct, frozen=True):
    """What happens to a fleet."""

    replicas: int
    routers: int = 4
    """Each knows what it has sent itself at once, and what others have sent by reports."""
    report_seconds: float = 1.0
    """From one report of the replicas' loads to the next."""
    deaths: tuple[tuple[float, int], ...] = ()
    """(when, how many replicas die)."""
    patience: float = 2.0
    """Seconds to the first token, and between two, that a caller takes for good."""


class Busy(NamedTuple):
    """Seconds for which the parts of one replica have computed."""

    runner: float
    encoder: float
    decoders: float

    @classmethod
    def of(cls, replica: Replica) -> "Busy":
        return cls(replica.step_seconds, replica.encode_seconds, replica.decode_seconds)


class Fleet:
    def __init__(self, profile: Profile, plan: Plan, routers: list[Router], seed: int = 0) -> None:
        self.clock = Clock()
        self.plan, self._profile = plan, profile
        self.decoders = profile.times.decoders
        self._random = random.Random(seed)
        self.replicas = [self._new() for _ in range(plan.replicas)]
        self._routers = [(router, [0] * plan.replicas) for router in routers]
        self._turn = 0
        self._living = [*range(plan.replicas)]
        """As all routers know."""
        self.asks: list[Ask] = []
        self.routing_seconds: list[float] = []
        """Of real time, by decision."""
        self.refused = self.resumed = 0
        self.peak = 0
        """Requests that one replica had at once, at the most."""
        self.gone: list[Replica] = []
        self.busy: list[Busy] = []
        """Of all of them, when the last request has come."""

    def _new(self) -> Replica:
        seed = self._random.getrandbits(32)
        return Replica(self._profile, self.clock, self._heard, self._ended, seed)

    def run(self, asks: Iterable[Ask], seconds: float, drain: float) -> None:
        coming = iter(asks)

        def arrive(ask: Ask) -> None:
            self.asks.append(ask)
            self._send(ask)
            if (following := next(coming, None)) is not None:
                self.clock.at(following.at, lambda: arrive(following))

        if (first := next(coming, None)) is not None:
            self.clock.at(first.at, lambda: arrive(first))
        for when, count in self.plan.deaths:
            self.clock.at(when, lambda count=count: self._kill(count))  # type: ignore[misc]
        self._report()
        self.clock.run(seconds)
        self.busy = [Busy.of(replica) for replica in (*self.replicas, *self.gone)]
        self.clock.run(seconds + drain)

    def _report(self) -> None:
        for _, loads in self._routers:
            for place in self._living:
                loads[place] = self.replicas[place].busy
        self.clock.after(self.plan.report_seconds, self._report)

    def _send(self, ask: Ask) -> None:
        self._turn = (self._turn + 1) % len(self._routers)
        router, loads = self._routers[self._turn]
        wanted = Wanted(ask.id, tuple(picture.key for picture in ask.pictures), ask.head)
        living: Sequence[int] = self._living
        for _ in range(min(TRIES, len(living))):
            began = time.perf_counter()
            place = router.choose(wanted, living, loads)
            self.routing_seconds.append(time.perf_counter() - began)
            if self._place(ask, place):
                ask.replica, ask.router = place, self._turn
                loads[place] += 1
                return
            router.over(ask.id)
            living = [other for other in living if other != place]
        if ask.resumed:  # it has been accepted: it is never refused any more
            self.clock.after(NOTICED_SECONDS, lambda: self._send(ask))
            return
        self.refused += 1

    def _place(self, ask: Ask, place: int) -> bool:
        """False: it has no room, or is dead, as a refused connection says."""
        replica = self.replicas[place]
        if not replica.alive:
            return False
        ask.attempt += 1
        try:
            replica.take(ask)
        except RequestError:
            ask.refused += 1
            return False
        self.peak = max(self.peak, replica.busy)
        return True

    def _heard(self, ask: Ask, position: int, token_ids: tuple[int, ...]) -> None:
        ask.heard(position, token_ids, self.clock.now)

    def _ended(self, ask: Ask) -> None:
        ask.ended = self.clock.now
        router, loads = self._routers[ask.router]
        router.over(ask.id)
        loads[ask.replica] = max(0, loads[ask.replica] - 1)

    def _kill(self, count: int) -> None:
        living = [place for place, replica in enumerate(self.replicas) if replica.alive]
        for place in self._random.sample(living, min(count, len(living))):
            self.gone.append(self.replicas[place])
            orphans = self.replicas[place].die()
            self.clock.after(NOTICED_SECONDS, lambda p=place, o=orphans: self._miss(p, o))  # type: ignore[misc]
            self.clock.after(REPLACED_SECONDS, lambda p=place: self._replace(p))  # type: ignore[misc]

    def _miss(self, place: int, orphans: list[Ask]) -> None:
        self._living.remove(place)
        for ask in orphans:
            self._routers[ask.router][0].over(ask.id)
            ask.resumed += 1
            self.resumed += 1
            self._send(ask)

    def _replace(self, place: int) -> None:
        self.replicas[place] = self._new()
        insort(self._living, place)
        for _, loads in self._routers:
            loads[place] = 0
