"""How a router chooses a replica: the real policy of Ray's request router, and two to compare."""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from thespis.frontends.ray.affinity import Affinity
from thespis.frontends.ray.keys import LikeKeys


class Wanted(NamedTuple):
    """What of a request says where it had better go."""

    id: str
    keys: LikeKeys = LikeKeys()


class Router(Protocol):
    """Replicas are told by numbers; one that takes the place of another has a number of its own."""

    keyed: bool
    """Whether it looks at keys, which somebody must make then."""

    def update(self, living: Sequence[int]) -> None:
        """These are there from now on."""
        ...

    def order(self, wanted: Wanted, loads: Sequence[int]) -> Iterable[int]:
        """Replicas, the best first, the others for when that has no room. `loads`: requests that
        each is known to have, by its number."""
        ...

    def moved(self, id: str, replica: int) -> None:
        """The request is at this one now."""
        ...

    def over(self, id: str) -> None:
        """It is answered, or nobody has taken it."""
        ...


class TwoChoices:
    """The less loaded of two that are drawn."""

    keyed = False

    def __init__(self, seed: int, routers: int = 1, at_once: float = math.inf) -> None:
        self._random = random.Random(seed)
        self._living: Sequence[int] = ()

    def update(self, living: Sequence[int]) -> None:
        self._living = tuple(living)

    def order(self, wanted: Wanted, loads: Sequence[int]) -> Iterator[int]:
        living, drawn = self._living, self._random.random
        while count := len(living):
            one, other = living[int(drawn() * count)], living[int(drawn() * count)]
            yield one if loads[one] <= loads[other] else other

    def moved(self, id: str, replica: int) -> None: ...

    def over(self, id: str) -> None: ...


class RoundRobin:
    """In turn, whatever each has."""

    keyed = False

    def __init__(self, seed: int, routers: int = 1, at_once: float = math.inf) -> None:
        self._next = seed
        self._living: Sequence[int] = ()

    def update(self, living: Sequence[int]) -> None:
        self._living = tuple(living)

    def order(self, wanted: Wanted, loads: Sequence[int]) -> Iterator[int]:
        while self._living:
            self._next += 1
            yield self._living[self._next % len(self._living)]

    def moved(self, id: str, replica: int) -> None: ...

    def over(self, id: str) -> None: ...


class ByAffinity:
    """The real one, as `frontends/ray/router.py` asks it. It hears nothing of what other routers
    have sent: it knows its own requests alone, at once, whatever `loads` say."""

    keyed = True

    def __init__(self, seed: int, routers: int = 1, at_once: float = math.inf) -> None:
        self._random = random.Random(seed)
        self.policy = Affinity(routers, at_once)
        self._numbers: dict[str, int] = {}

    def update(self, living: Sequence[int]) -> None:
        self._numbers = {_name(number): number for number in living}
        self.policy.update(self._random.sample([*self._numbers], len(self._numbers)))

    def order(self, wanted: Wanted, loads: Sequence[int]) -> list[int]:
        return [self._numbers[name] for name in self.policy.order(wanted.id, wanted.keys)]

    def moved(self, id: str, replica: int) -> None:
        self.policy.moved(id, _name(replica))

    def over(self, id: str) -> None:
        self.policy.over(id)


def _name(number: int) -> str:
    return f"replica-{number}"


POLICIES: dict[str, Callable[[int, int, float], Router]] = {
    "affinity": ByAffinity,
    "round-robin": RoundRobin,
    "two-choices": TwoChoices,
}
"""With a seed, how many routers there are, and the sequences that a replica runs at once."""
