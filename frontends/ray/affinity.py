"""Which replica a request goes to: one that has its media or its beginning, as long as it has no
more to do than the others. Pure: no clock, no Ray."""

import hashlib
import math
from collections import Counter, OrderedDict
from collections.abc import Sequence

from .keys import LikeKeys

CALM = 4
"""Requests under way that a replica may always have more than its share: chance alone gives it
some, and they share its steps."""
LOAD = 1.1
"""Times the mean that a replica may have under way, beside `CALM`."""
EVEN = 10
"""A replica gets no new key while it has a tenth more than the one with the fewest."""
LATELY = 1 << 12
MOST_KEYS = 1 << 16
"""That are remembered: beyond, the ones that were not asked for longest are forgotten."""


class Affinity:
    """What one caller of replicas remembers. Replicas are told by their names."""

    def __init__(self) -> None:
        self._homes: OrderedDict[str, str] = OrderedDict()
        """By key, the replica that has it."""
        self._kept: Counter[str] = Counter()
        """LikeKeys by replica."""
        self._under_way: dict[str, str] = {}
        """Where each request is, by its id."""
        self.load: Counter[str] = Counter()
        """Requests under way by replica."""
        self._sent: Counter[str] = Counter()
        """Requests sent lately by replica: of those with as much to do, the one with fewer."""

    def order(
        self, id: str, keys: LikeKeys, replicas: Sequence[str], avoid: Sequence[str] = ()
    ) -> list[str]:
        """The replicas, the best first, of which it is counted as under way; asked again for the
        same request, another may be the best. `avoid`: where it has failed."""
        self.over(id)
        fit = [one for one in replicas if one not in avoid] or list(replicas)
        if not fit:
            return []
        most = CALM + math.ceil(LOAD * (sum(self.load[one] for one in fit) + 1) / len(fit))
        free = [one for one in fit if self.load[one] < most] or fit
        best = self._best(keys, fit, free)
        self._learn(keys, best, fit)
        self.begin(id, best)
        rest = [one for one in replicas if one != best]
        return [best, *sorted(rest, key=lambda one: (one not in fit, *self._idle(one)))]

    def _best(self, keys: LikeKeys, fit: Sequence[str], free: Sequence[str]) -> str:
        for key in keys.own:
            if self._homes.get(key) in free:
                return self._homes[key]
        if any(self._homes.get(key) in fit for key in keys.own):
            return min(free, key=self._idle)  # its home has too much to do
        if not keys.own and not keys.shared:
            return min(free, key=self._idle)
        fewest = min(self._kept[one] for one in fit)
        even = [one for one in free if self._kept[one] <= fewest + max(1, fewest // EVEN)] or free
        if self._homes.get(keys.shared) in even:
            return self._homes[keys.shared]
        first = keys.own[0] if keys.own else keys.shared
        return max(even, key=lambda one: _weight(first, one))

    def _idle(self, replica: str) -> tuple[int, int]:
        """The lowest has the least to do."""
        return self.load[replica], self._sent[replica]

    def _learn(self, keys: LikeKeys, best: str, fit: Sequence[str]) -> None:
        """LikeKeys that have no home, or none that is there, are at home where they go first."""
        for key in filter(None, (*keys.own, keys.shared)):
            if (known := self._homes.get(key)) in fit and known is not None:
                self._homes.move_to_end(key)
                continue
            if known is not None:
                self._kept[known] -= 1
            self._homes[key] = best
            self._homes.move_to_end(key)
            self._kept[best] += 1
        while len(self._homes) > MOST_KEYS:
            _, home = self._homes.popitem(last=False)
            self._kept[home] -= 1

    def moved(self, id: str, replica: str) -> None:
        """It has come to this replica, whatever was the best."""
        if self._under_way.get(id) != replica:
            self.begin(id, replica)

    def begin(self, id: str, replica: str) -> None:
        """It is under way at this replica."""
        self.over(id)
        self._under_way[id] = replica
        self.load[replica] += 1
        self._sent[replica] += 1
        if self._sent[replica] > LATELY:
            self._sent = Counter({one: count // 2 for one, count in self._sent.items()})

    def over(self, id: str) -> None:
        """It is under way no more. Idempotent."""
        replica = self._under_way.pop(id, None)
        if replica is not None:
            self.load[replica] -= 1
            if not self.load[replica]:
                del self.load[replica]


def _weight(key: str, replica: str) -> bytes:
    """Rendezvous hashing: all who ask, wherever, see the same order of replicas for a key, and of
    one that goes only its own keys move."""
    return hashlib.blake2b(f"{key}\0{replica}".encode(), digest_size=8).digest()
