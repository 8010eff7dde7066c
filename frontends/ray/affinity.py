"""Which replica a request goes to: one that has its media or its beginning, as long as it has no
more to do than the others. A decision looks at few replicas, however many there are. Pure: no
clock, no Ray."""

import math
from collections import OrderedDict
from collections.abc import Collection, Iterable

from .keys import LikeKeys
from .levels import Levels
from .ring import FEW, Ring

CALM = 4
"""Requests under way that a replica may always have more than its share: chance alone gives it
some, and they share its steps. All doors together: each allows its part."""
LOAD = 1.1
"""Times the mean that a replica may have under way, beside `CALM`."""
EVEN = 10
"""A replica gets no new key while it has a tenth more than the one with the fewest."""
MOST_KEYS = 1 << 16
"""That are remembered: beyond, the ones that were not asked for longest are forgotten."""


class Affinity:
    """What one caller of replicas remembers. Replicas are told by their names."""

    def __init__(self, doors: int = 1, at_once: float = math.inf) -> None:
        """`doors`: callers like this one, each of which knows its own requests alone. `at_once`:
        requests that a replica runs together, beyond which they wait there."""
        self._doors, self._room = doors, at_once / doors
        self._homes: OrderedDict[str, str] = OrderedDict()
        """By key, the replica that has it."""
        self._under_way: dict[str, str] = {}
        """Where each request is, by its id."""
        self.replicas: frozenset[str] = frozenset()
        """That are there."""
        self._ring = Ring()
        self.load, self.kept = Levels(), Levels()
        """Requests under way and keys, by replica."""

    def update(self, replicas: Iterable[str]) -> None:
        """These are there from now on."""
        now = dict.fromkeys(replicas)  # in their order
        for name in self.replicas - now.keys():
            self._ring.leave(name)
            self.load.leave(name)
            self.kept.leave(name)
        for name in now:
            if name not in self.replicas:
                self._ring.join(name)
                self.load.join(name)
                self.kept.join(name)
        self.replicas = frozenset(now)

    def order(self, id: str, keys: LikeKeys, avoid: Collection[str] = ()) -> list[str]:
        """A few replicas, the best first, of which it is counted as under way; asked again for the
        same request, others may be the best. `avoid`: where it has failed."""
        again = id in self._under_way
        self.over(id)
        avoided = self.replicas.intersection(avoid)
        if len(avoided) == len(self.replicas):
            avoided = frozenset()
        if not self.replicas:
            return []
        best = self._best(keys, avoided)
        self._learn(keys, best, avoided)
        self.begin(id, best)
        rest = [one for one in self.load.least(FEW + len(avoided)) if one != best]
        rest.sort(key=avoided.__contains__)
        if again:  # those that had no room come last next time
            for one in rest[: FEW - 1]:
                self.load.turn(one)
        return [best, *rest[: FEW - 1]]

    def _best(self, keys: LikeKeys, avoided: frozenset[str]) -> str:
        most = self._most(avoided)
        homes = [home for home in map(self._homes.get, keys.own) if self._fit(home, avoided)]
        for home in homes:
            if home is not None and self.load.counts[home] < most:
                return home
        first = keys.own[0] if keys.own else keys.shared
        if homes or not first:  # its home has too much to do, or it has none
            return self._idle(avoided)
        even = self.kept.fewest + max(1, self.kept.fewest // EVEN)
        shared = self._homes.get(keys.shared)
        near = [shared] if shared is not None and self._fit(shared, avoided) else []
        for one in (*near, *self._ring.of(first), *self.kept.least(FEW)):
            free = self.load.counts[one] < most and self.kept.counts[one] <= even
            if free and one not in avoided:
                return one
        return self._idle(avoided)

    def _most(self, avoided: frozenset[str]) -> int:
        """A replica with so many under way gets no more: 1 at least, whatever a door's part is.
        While there is room, nobody waits at one that has none."""
        total = self.load.total - sum(self.load.counts[one] for one in avoided)
        mean = (total + 1) / (len(self.replicas) - len(avoided))
        most = CALM / self._doors + LOAD * mean
        if most > self._room > self.load.counts[self._idle(avoided)]:
            most = self._room
        return math.ceil(most)

    def _fit(self, replica: str | None, avoided: frozenset[str]) -> bool:
        return replica in self.replicas and replica not in avoided

    def _idle(self, avoided: frozenset[str]) -> str:
        """Who has the least to do; of several the one that has had so little for longest."""
        least = self.load.least(1 + len(avoided))
        return next(one for one in least if one not in avoided)

    def _learn(self, keys: LikeKeys, best: str, avoided: frozenset[str]) -> None:
        """Keys that have no home, or none that is there, are at home where they go first."""
        for key in filter(None, (*keys.own, keys.shared)):
            known = self._homes.get(key)
            if known is None or not self._fit(known, avoided):
                if known is not None:
                    self.kept.add(known, -1)
                self._homes[key] = best
                self.kept.add(best, 1)
            self._homes.move_to_end(key)
        while len(self._homes) > MOST_KEYS:
            _, home = self._homes.popitem(last=False)
            self.kept.add(home, -1)

    def moved(self, id: str, replica: str) -> None:
        """It has come to this replica, whatever was the best."""
        if self._under_way.get(id) != replica:
            self.begin(id, replica)

    def begin(self, id: str, replica: str) -> None:
        """It is under way at this replica."""
        self.over(id)
        self._under_way[id] = replica
        self.load.add(replica, 1)

    def over(self, id: str) -> None:
        """It is under way no more. Idempotent."""
        replica = self._under_way.pop(id, None)
        if replica is not None:
            self.load.add(replica, -1)
