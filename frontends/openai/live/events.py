"""Deaths and returns as a watcher sees them, and what became of the requests that a death met. No
clock and no socket here."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from ....protocol.edges.view import Happening
from .shapes import EventShape, RecoveryShape

SHOWN = 40
SOON_SECONDS = 10.0
"""After a death, in which streams are watched more closely."""
Incarnation = tuple[str, int]
"""A role and an epoch."""


class _Caught(msgspec.Struct):
    """Those that were under way when a process died."""

    tokens: dict[str, int]
    """What each had been given when the death was seen, of those that have not gone on."""
    caught: int
    since: float
    went_on: int = 0
    failed: int = 0
    seconds: float | None = None
    soon: bool = True
    """False once it takes long: one whose caller does not read may never go on."""


class Events:
    """Follows the requests of one server past the deaths that happen while it is watched."""

    def __init__(self, unix: Callable[[float], float]) -> None:
        """`unix`: Unix time of a time by time.monotonic."""
        self._unix = unix
        self._caught: dict[Incarnation, _Caught] = {}
        self._known: set[Incarnation] | None = None
        """Deaths that have been seen; None before the first look, which follows nobody: what they
        met is not known."""

    @property
    def waiting(self) -> bool:
        """Somebody whom a death met has neither gone on nor ended, and may do so soon."""
        return any(caught.tokens and caught.soon for caught in self._caught.values())

    def ended(self, id: str, well: bool) -> None:
        """A request is over."""
        for caught in self._caught.values():
            if caught.tokens.pop(id, None) is not None:
                caught.went_on += well
                caught.failed += not well

    def look(
        self, happened: Sequence[Happening], tokens: Mapping[str, int], now: float
    ) -> list[EventShape]:
        """The newest first. `tokens`: delivered so far, by the ids of those under way; `now`: by
        time.monotonic."""
        deaths = {(one.role, one.epoch): one for one in happened if one.what == "ended"}
        if self._known is not None:
            for one in deaths.keys() - self._known:
                self._caught[one] = _Caught(dict(tokens), len(tokens), deaths[one].when)
        self._known = set(deaths)
        back = {one.role: one.epoch for one in happened if one.what == "ready"}
        for (role, epoch), caught in list(self._caught.items()):
            caught.soon = now - caught.since < SOON_SECONDS
            if (role, epoch) not in deaths:
                del self._caught[role, epoch]  # long ago
            elif back.get(role, 0) > epoch:
                self._follow(caught, tokens, now)
        return [self._shape(one, happened) for one in reversed(happened[-SHOWN:])]

    def _follow(self, caught: _Caught, tokens: Mapping[str, int], now: float) -> None:
        for id, before in list(caught.tokens.items()):
            if tokens.get(id, before) > before:
                del caught.tokens[id]
                caught.went_on += 1
        if not caught.tokens and caught.seconds is None:
            caught.seconds = max(0.0, round(now - caught.since, 2))

    def _shape(self, one: Happening, happened: Sequence[Happening]) -> EventShape:
        if one.what == "ready":
            died = [
                other.when
                for other in happened
                if other.role == one.role and other.what == "ended" and other.epoch < one.epoch
            ]
            after = round(one.when - died[-1], 2) if died else None
            return EventShape(self._unix(one.when), one.role, one.epoch, "ready", after=after)
        caught, streams = self._caught.get((one.role, one.epoch)), None
        if caught is not None:
            streams = RecoveryShape(caught.caught, caught.went_on, caught.failed, caught.seconds)
        return EventShape(
            self._unix(one.when), one.role, one.epoch, "ended", one.why, streams=streams
        )
