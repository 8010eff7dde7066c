"""What several actors are asked for one asker: the engine's state, and that a cache be emptied. No
socket here."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ...protocol.edges.control import AskReset, AskStats, Cache, Reset, ResetOver, Stats
from ...protocol.topology import ENCODER_CACHE, PREPROCESSOR, SCHEDULER
from ...protocol.wire import Message
from .roster import Member, Roster

Send = Callable[[Member, Message], None]

HELD_BY: dict[Cache, tuple[str, ...]] = {
    "media": (PREPROCESSOR, ENCODER_CACHE),
    "prefix": (SCHEDULER,),
}
"""The actors whose memory a cache is. One that dies has emptied its part."""
RESET_SECONDS = 20.0
"""An actor's handlers take far less. The asker waits longer, so that it hears who was too slow."""
STATS_SECONDS = 0.5
"""A process that computes for longer than this is represented by the counters it sent last."""


class Asker(NamedTuple):
    """Who wants counters."""

    identity: bytes
    """Of its link."""
    watch: int | None
    """The number of its question, where it is for all that can be seen."""


class Rounds:
    """Each is over when all have answered or died, or when it has taken too long."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[Any, set[str]]] = {}
        """By number: who asked, and the roles that have not answered."""
        self._number = 0

    def over(self, asker: Any, whole: bool) -> None:
        """To override. `whole`: everybody has answered or died."""

    def begin(self, asker: Any, roles: Iterable[str], seconds: float) -> int:
        """Of `seconds` at most; returns its number."""
        self._number += 1
        self._open[self._number] = asker, set(roles)
        asyncio.get_running_loop().call_later(seconds, self._close, self._number)
        self._close_whole()
        return self._number

    def answered(self, role: str, number: int) -> None:
        if number in self._open:
            self._open[number][1].discard(role)
            self._close_whole()

    def gone(self, role: str) -> None:
        for _, missing in self._open.values():
            missing.discard(role)
        self._close_whole()

    def _close_whole(self) -> None:
        for number in [number for number, (_, missing) in self._open.items() if not missing]:
            self._close(number)

    def _close(self, number: int) -> None:
        asker, missing = self._open.pop(number, (None, None))
        if missing is not None:
            self.over(asker, not missing)


class Resets(Rounds):
    """`answer` tells each asker once whether all have confirmed or died."""

    def __init__(
        self, roster: Roster, send: Send, answer: Callable[[bytes, Message], None]
    ) -> None:
        super().__init__()
        self._roster, self._send, self._answer = roster, send, answer
        self._of_media = 0
        """The number of the last one of media."""

    def ask(self, identity: bytes, message: AskReset) -> None:
        """`identity`: of the asker's link. Who is not ready has nothing yet."""
        ready = self._roster.ready_ones(HELD_BY[message.cache])
        asker = identity, message.number
        number = self.begin(asker, [member.role for member in ready], RESET_SECONDS)
        if message.cache == "media":
            self._of_media = number
        for member in ready:
            self._send(member, Reset(number, message.cache))

    def ready(self, member: Member) -> None:
        """Before anybody can write to it. A preprocessor names media otherwise after a reset; its
        successor must not find what requests from before still hold."""
        if member.role == PREPROCESSOR and self._of_media:
            self._send(member, Reset(self._of_media, "media"))

    def over(self, asker: tuple[bytes, int], whole: bool) -> None:
        self._answer(asker[0], ResetOver(asker[1], whole))


class StatsCollector(Rounds):
    """Each asker gets counters read after it asked, of all whose processes answer in time."""

    def __init__(self, roster: Roster, send: Send, answer: Callable[[Asker], None]) -> None:
        super().__init__()
        self._roster, self._send, self._answer = roster, send, answer
        self._owed: defaultdict[str, deque[int]] = defaultdict(deque)
        """The rounds whose questions a process has not answered; its answers come in order."""

    def ask(self, identity: bytes, watch: int | None = None) -> None:
        """`watch`: the number of a question for all that can be seen; None: for counters alone."""
        ready = self._roster.ready_ones()
        asker = Asker(identity, watch)
        number = self.begin(asker, [member.role for member in ready], STATS_SECONDS)
        for member in ready:
            self._owed[member.role].append(number)
            self._send(member, AskStats(watch is not None))

    def heard(self, stats: Stats) -> None:
        role = stats.role
        member = self._roster.members.get(role)
        if member is None or member.epoch != stats.epoch:
            return
        self._roster.stats[role] = stats.counters
        if stats.seen is not None:
            self._roster.seen[role] = stats.seen
        if owed := self._owed[role]:
            self.answered(role, owed.popleft())

    def gone(self, role: str) -> None:
        self._owed.pop(role, None)
        super().gone(role)

    def over(self, asker: Asker, whole: bool) -> None:
        self._answer(asker)
