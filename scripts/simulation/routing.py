"""Which replica gets a request: the policies that are compared, and what they may know."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol


class Wanted(NamedTuple):
    """What of a request says where it had better go."""

    id: str
    own: tuple[str, ...]
    """Keys of its pictures."""
    shared: str
    """Of the beginning of its prompt; "": it has one of its own."""


class Router(Protocol):
    def choose(self, wanted: Wanted, living: Sequence[int], loads: Sequence[int]) -> int:
        """One of the `living` replicas, by their places; `loads`: requests that each is known to
        have, by its place."""
        ...

    def over(self, id: str) -> None:
        """A request that it has sent somewhere is answered, or has failed there."""
        ...


class Evenly:
    """The less loaded of two that are drawn."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def choose(self, wanted: Wanted, living: Sequence[int], loads: Sequence[int]) -> int:
        count = len(living)
        one, other = (
            living[int(self._random.random() * count)],
            living[int(self._random.random() * count)],
        )
        return one if loads[one] <= loads[other] else other

    def over(self, id: str) -> None: ...


class Blindly:
    """In turn, whatever each has."""

    def __init__(self, seed: int) -> None:
        self._next = seed

    def choose(self, wanted: Wanted, living: Sequence[int], loads: Sequence[int]) -> int:
        self._next += 1
        return living[self._next % len(living)]

    def over(self, id: str) -> None: ...


POLICIES: dict[str, Callable[[int], Router]] = {"blindly": Blindly, "evenly": Evenly}
"""With a seed."""
