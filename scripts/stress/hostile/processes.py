"""The engine's processes, watched from outside: which came and went, and how large each became."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from ..watch import memory_of, session_of

EVERY_SECONDS = 0.25
EXPENDABLE = ("thespis decode-worker",)
"""Titles, or their beginnings, of processes that are there to be killed for what callers send."""


class Change(NamedTuple):
    time: float
    title: str


@dataclass
class Processes:
    """Sampled from `start` on. `changes` are those of processes that should have stayed."""

    director: int
    changes: list[Change] = field(default_factory=list)
    replaced: int = 0
    """Processes that are there to be killed."""
    grown: dict[str, float] = field(default_factory=dict)
    """MiB at the most above the size at the start, by title."""
    kept: dict[str, float] = field(default_factory=dict)
    """MiB above it at the last look: of the processes that are there now."""
    _first: dict[int, float] = field(default_factory=dict)
    _known: dict[int, str] = field(default_factory=dict)
    _stayed: set[int] = field(default_factory=set)
    """That were there at the start, or at two looks in a row."""

    async def __aenter__(self) -> "Processes":
        self._known = named(self.director)
        self._first = {pid: memory_of(pid) or 0.0 for pid in self._known}
        self._stayed = set(self._known)
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.look()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            self.look()

    def look(self) -> None:
        """Compare with what was there before."""
        now, before = named(self.director), self._known
        for pid in before.keys() - now.keys():
            title = before[pid]
            if title.startswith(EXPENDABLE):
                self.replaced += 1
            elif pid not in self._stayed and title in now.values():
                continue  # the middle one of two forks, which has its parent's title
            else:
                self.changes.append(Change(time.monotonic(), title))
        self._stayed |= before.keys() & now.keys()
        self.kept = {}
        for pid, title in now.items():
            size = memory_of(pid) or 0.0
            more = size - self._first.setdefault(pid, size)
            self.grown[title] = max(self.grown.get(title, 0.0), more)
            self.kept[title] = max(self.kept.get(title, 0.0), more)
        self._known = now


def named(director: int) -> dict[int, str]:
    """By pid, those that have their final title."""
    return {
        pid: title for pid, title in session_of(director).items() if title.startswith("thespis ")
    }
