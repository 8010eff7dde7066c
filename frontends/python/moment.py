"""When a call came: by the steady clock, by which everything is measured and ordered, and by the
one that people read."""

import time
from typing import NamedTuple, Self


class Moment(NamedTuple):
    """One moment by both clocks. The wall clock may be set forward or back later; what is derived
    from here does not move."""

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
