"""When a call came, by the clock that measures and by the one that people read."""

import time
from typing import NamedTuple, Self


class Moment(NamedTuple):
    """By both clocks. The wall clock may be set later; what is derived from here does not move."""

    unix: float
    """Seconds, for people and other programs."""
    steady: float
    """Seconds by time.monotonic, which all processes of a machine share."""

    @classmethod
    def now(cls) -> Self:
        return cls(time.time(), time.monotonic())

    def unix_at(self, steady: float) -> float:
        """Another moment, of the steady clock, in unix seconds."""
        return self.unix + steady - self.steady
