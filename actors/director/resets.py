"""Caches that a client wants emptied: which actors have a part of them, and whose confirmation is
missing. No socket here."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ...protocol.edges.control import AskReset, Cache, Reset, ResetOver
from ...protocol.topology import ENCODER_CACHE, PREPROCESSOR, SCHEDULER
from ...protocol.wire import Message
from .roster import Member, Roster

HELD_BY: dict[Cache, tuple[str, ...]] = {
    "media": (PREPROCESSOR, ENCODER_CACHE),
    "prefix": (SCHEDULER,),
}
"""The actors whose memory a cache is. One that dies has emptied its part."""
PATIENCE_SECONDS = 20.0
"""An actor's handlers take far less. The asker waits longer, so that it hears who was too slow."""


@dataclass(frozen=True)
class _Asked:
    identity: bytes
    """Of the asker's link."""
    number: int
    """The asker's own."""
    missing: set[str]
    """Roles that have not confirmed."""


class Resets:
    """Each asker hears once: when all have confirmed or died, or after `PATIENCE_SECONDS`."""

    def __init__(
        self,
        roster: Roster,
        send: Callable[[Member, Message], None],
        answer: Callable[[bytes, Message], None],
    ) -> None:
        self._roster, self._send, self._answer = roster, send, answer
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, _Asked] = {}
        self._number = 0

    def ask(self, identity: bytes, message: AskReset) -> None:
        self._number += 1
        members = [
            self._roster.members[role]
            for role in HELD_BY[message.cache]
            if role in self._roster.members
        ]
        ready = [
            member for member in members if member.state == "ready"
        ]  # the others have nothing yet
        self._open[self._number] = _Asked(
            identity, message.number, {member.role for member in ready}
        )
        for member in ready:
            self._send(member, Reset(self._number, message.cache))
        self._loop.call_later(PATIENCE_SECONDS, self._close, self._number)
        self._close_complete()

    def confirmed(self, role: str, number: int) -> None:
        if (asked := self._open.get(number)) is not None:
            asked.missing.discard(role)
            self._close_complete()

    def gone(self, role: str) -> None:
        for asked in self._open.values():
            asked.missing.discard(role)
        self._close_complete()

    def _close_complete(self) -> None:
        for number in [number for number, asked in self._open.items() if not asked.missing]:
            self._close(number)

    def _close(self, number: int) -> None:
        asked = self._open.pop(number, None)
        if asked is not None:
            self._answer(asked.identity, ResetOver(asked.number, not asked.missing))
