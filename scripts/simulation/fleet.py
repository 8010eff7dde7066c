"""Many replicas behind routers: requests arrive, replicas die, streams go on elsewhere."""

import random
import time
from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import NamedTuple

import msgspec

from thespis.protocol.errors import RequestError

from .asking import Ask
from .bodies import likes_of
from .clock import Clock
from .replica import Replica
from .routing import Router, Wanted
from .times import Profile

NOTICED_SECONDS = 0.5
"""From a replica's death to the moment at which its routers know: a closed connection is seen at
once, a node's end by its health check."""
TRIES = 8
"""Replicas that are asked before a request is refused: as many as the real router names."""


class Plan(msgspec.Struct, frozen=True):
    """What happens to a fleet."""

    replicas: int
    routers: int = 4
    """Each knows what it has sent itself at once, and what others have sent by reports, if it
    looks at those."""
    report_seconds: float = 1.0
    """From one report of the replicas' loads to the next."""
    deaths: tuple[tuple[float, int], ...] = ()
    """(when, how many replicas die)."""
    replaced_seconds: float = 10.0
    """From a death until a new one takes the place."""
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
        self.decoders, self.grain = profile.times.decoders, profile.times.grain
        self._random = random.Random(seed)
        self.replicas = [self._new() for _ in range(plan.replicas)]
        """By number: also the dead, and those that have taken their places."""
        self._routers = [(router, [0] * plan.replicas) for router in routers]
        self._turn = 0
        self._living = dict.fromkeys(range(plan.replicas))
        """As all routers know; those that come are the last."""
        self._tell()
        self.asks: list[Ask] = []
        self.routing_seconds: list[float] = []
        """Of a real processor, by decision..."""
        self.keying_seconds: list[float] = []
        """... and for the keys of a request, where its router looks at them."""
        self.refused = self.resumed = 0
        self.peak = 0
        """Requests that one replica had at once, at the most."""
        self.died: dict[int, float] = {}
        """When, by number."""
        self.busy: list[Busy] = []
        """Of all of them, when the last request has come."""

    def _new(self) -> Replica:
        return Replica(self._profile, self.clock, self._ended, self._random.getrandbits(32))

    def run(self, asks: Iterable[Ask], seconds: float, drain: float) -> None:
        coming = iter(asks)

        def arrive(ask: Ask) -> None:
            self.asks.append(ask)
            self._turn = (self._turn + 1) % len(self._routers)
            ask.router = self._turn
            if self._routers[self._turn][0].keyed:
                began = time.thread_time()
                ask.likes = likes_of(ask, self.grain)
                self.keying_seconds.append(time.thread_time() - began)
            self._send(ask)
            if (following := next(coming, None)) is not None:
                self.clock.at(following.at, lambda: arrive(following))

        if (first := next(coming, None)) is not None:
            self.clock.at(first.at, lambda: arrive(first))
        for when, count in self.plan.deaths:
            self.clock.at(when, partial(self._kill, count))
        self._report()
        self.clock.run(seconds)
        self.busy = [Busy.of(replica) for replica in self.replicas]
        self.clock.run(seconds + drain)

    def _report(self) -> None:
        for _, loads in self._routers:
            for number in self._living:
                loads[number] = self.replicas[number].busy
        self.clock.after(self.plan.report_seconds, self._report)

    def _tell(self) -> None:
        for router, _ in self._routers:
            router.update([*self._living])

    def _send(self, ask: Ask) -> None:
        router, loads = self._routers[ask.router]
        began = time.thread_time()
        order = iter(router.order(Wanted(ask.id, ask.likes), loads))
        best = next(order, None)
        self.routing_seconds.append(time.thread_time() - began)
        tried = () if best is None else (best, *islice(order, TRIES - 1))
        for number in tried:
            if self._place(ask, number):
                router.moved(ask.id, number)
                ask.replica = number
                ask.went = number if ask.went < 0 else ask.went
                loads[number] += 1
                return
        router.over(ask.id)
        if ask.resumed:  # it has been accepted: it is never refused any more
            self.clock.after(NOTICED_SECONDS, lambda: self._send(ask))
            return
        self.refused += 1

    def _place(self, ask: Ask, number: int) -> bool:
        """False: it has no room, or is dead, as a refused connection says."""
        replica = self.replicas[number]
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

    def _ended(self, ask: Ask) -> None:
        ask.ended = self.clock.now
        router, loads = self._routers[ask.router]
        router.over(ask.id)
        loads[ask.replica] = max(0, loads[ask.replica] - 1)

    def _kill(self, count: int) -> None:
        living = [number for number, replica in enumerate(self.replicas) if replica.alive]
        for number in self._random.sample(living, min(count, len(living))):
            self.died[number] = self.clock.now
            orphans = self.replicas[number].die()
            self.clock.after(NOTICED_SECONDS, partial(self._miss, number, orphans))
            self.clock.after(self.plan.replaced_seconds, self._replace)

    def _miss(self, number: int, orphans: list[Ask]) -> None:
        del self._living[number]
        self._tell()
        for ask in orphans:
            self._routers[ask.router][0].over(ask.id)
            ask.resumed += 1
            self.resumed += 1
            self._send(ask)

    def _replace(self) -> None:
        self._living[len(self.replicas)] = None
        self.replicas.append(self._new())
        for _, loads in self._routers:
            loads.append(0)
        self._tell()
