"""Questions about the state of the engine: fresh counters are collected from every process before
the answer goes out."""

import asyncio
from collections.abc import Callable

from ...protocol.edges.control import AskStats
from ...protocol.wire import Message
from .roster import Member, Roster

PATIENCE_SECONDS = 0.5
"""A process that computes for longer than this is represented by the counters it sent last."""


class StatsCollector:
    """Each asker gets counters that were read after it asked, as far as their processes answer in
    time."""

    def __init__(
        self,
        roster: Roster,
        send: Callable[[Member, Message], None],
        answer: Callable[[bytes], None],
    ) -> None:
        self._roster, self._send, self._answer = roster, send, answer
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, tuple[bytes, dict[str, int]]] = {}
        """By number: who asked, and whose answers are missing, by role: how many they owe before
        this one."""
        self._number = 0
        self._owed: dict[str, int] = {}
        """Questions a process has not answered yet; its answers come in order."""

    def ask(self, identity: bytes, asker: str) -> None:
        missing: dict[str, int] = {}
        for role, member in self._roster.members.items():
            if member.state == "ready" and role != asker:
                self._owed[role] = self._owed.get(role, 0) + 1
                missing[role] = self._owed[role]
                self._send(member, AskStats())
        self._number += 1
        self._open[self._number] = (identity, missing)
        self._loop.call_later(PATIENCE_SECONDS, self._close, self._number)
        self._close_complete()

    def heard(self, role: str, epoch: int, counters: dict[str, float]) -> None:
        member = self._roster.members.get(role)
        if member is None or member.epoch != epoch:
            return
        self._roster.stats[role] = counters
        self._owed[role] = max(0, self._owed.get(role, 0) - 1)
        for _, missing in self._open.values():
            if role in missing:
                missing[role] -= 1
                if missing[role] <= 0:
                    del missing[role]
        self._close_complete()

    def gone(self, role: str) -> None:
        self._owed.pop(role, None)
        for _, missing in self._open.values():
            missing.pop(role, None)
        self._close_complete()

    def _close_complete(self) -> None:
        for number in [number for number, (_, missing) in self._open.items() if not missing]:
            self._close(number)

    def _close(self, number: int) -> None:
        question = self._open.pop(number, None)
        if question is not None:
            self._answer(question[0])
