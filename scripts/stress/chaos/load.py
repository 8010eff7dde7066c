"""Streams without end: workers that put requests of the pool, and the judgement of every answer."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from ..faces import BROKEN, Face, observe
from ..history import Judgement, Leave, Record, Verdict, first_difference, judge
from ..pool import Ask
from .oracle import Oracle

SHOWN = 40
"""Wrong answers that are told as they come; all are in the report."""
PAUSE_SECONDS = 0.2
"""After a failure, so that a face that is not there is not asked in a tight loop."""
LEAVING, STAY_SECONDS = 1 / 6, 3.0
"""The share of requests whose callers leave, and for how long they stay at most: in every stage
somebody leaves."""
AT_ONCE, AT_ONCE_SECONDS = 1 / 4, 0.02
"""Of them: the share that hardly stays at all. Most of these are gone before the server has sent
its headers."""


class Excuse(NamedTuple):
    """Failures that a fault must cause: those of `errors` for requests that lived at any time in
    between."""

    errors: frozenset[str]
    start: float
    end: float


class Wrong(NamedTuple):
    """One request that did not go as it should have."""

    face: str
    ask: str
    judgement: Judgement
    submitted: float
    ended: float | None


class Load:
    """Keeps one stream going per entry of `faces`, until `stop`."""

    def __init__(
        self,
        faces: list[Face],
        pool: list[Ask],
        oracle: Oracle,
        seed: int,
        say: Callable[[str], None],
        ties: bool = True,
    ) -> None:
        """`ties`: logits as good as equal excuse another token."""
        self._faces, self._pool, self._oracle, self._say = faces, pool, oracle, say
        self._ties = ties
        self._draw = random.Random(seed)
        self._stopping = False
        self._live: list[Record] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.excuses: list[Excuse] = []
        self.recovering = False
        """A process is missing just now."""
        self.counts: Counter[str] = Counter()
        """Verdicts; `tokens`; and `in recovery`: of those that are cancelled."""
        self.requests: Counter[str] = Counter()
        """By face."""
        self.wrong: list[Wrong] = []

    @property
    def between(self) -> int:
        """Streams between their first and their last token."""
        return sum(record.between for record in self._live)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._work(face)) for face in self._faces]

    async def stop(self) -> None:
        """Let every stream that has begun come to its end."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    def check(self) -> None:
        """Raise what ended a worker, if anything did."""
        for task in self._tasks:
            if task.done() and not self._stopping:
                task.result()

    async def _work(self, face: Face) -> None:
        while not self._stopping:
            ask = self._draw.choice(self._pool)
            record = Record(ask.name, face.name, time.monotonic(), self._leave(face))
            self._live.append(record)
            await observe(face, ask, record)
            missing = self.recovering
            self._live.remove(record)
            if await self._close(ask, record) == "cancelled":
                self.counts["in recovery"] += missing
            elif record.ended[-1].error is not None:
                await asyncio.sleep(PAUSE_SECONDS)

    def _leave(self, face: Face) -> Leave | None:
        """Whether, when and how the caller means to leave."""
        if not face.ways or self._draw.random() >= LEAVING:
            return None
        stay = AT_ONCE_SECONDS if self._draw.random() < AT_ONCE else STAY_SECONDS
        return Leave(time.monotonic() + self._draw.uniform(0.0, stay), self._draw.choice(face.ways))

    async def _close(self, ask: Ask, record: Record) -> Verdict:
        judgement = judge(record, self._oracle.wants[ask.name])
        if judgement.verdict not in ("kept", "cancelled"):
            judgement = await self._explain(ask, record, judgement)
        self.counts[judgement.verdict] += 1
        self.counts["tokens"] += sum(len(said.token_ids) for said in record.said)
        self.requests[record.face] += 1
        if judgement.verdict not in ("kept", "cancelled", "excused"):
            ended = record.ended[-1].time if record.ended else None
            self.wrong.append(Wrong(record.face, record.ask, judgement, record.submitted, ended))
            if len(self.wrong) <= SHOWN:
                self._say(
                    f"{judgement.verdict}: {record.face} {record.ask}: {judgement.why} (choice "
                    f"{judgement.choice})"
                )
        return judgement.verdict

    async def _explain(self, ask: Ask, record: Record, found: Judgement) -> Judgement:
        """A tie or an excuse, where it is one."""
        if found.verdict == "lost" and self._excused(record, found.why):
            return found._replace(verdict="excused")
        if found.verdict == "diverged" and self._ties:
            tokens = [
                token
                for said in record.said
                if said.choice == found.choice
                for token in said.token_ids
            ]
            want = self._oracle.wants[ask.name][found.choice].token_ids
            place = first_difference(tokens, want)
            if place < min(len(tokens), len(want)) and await asyncio.to_thread(
                self._oracle.is_tie, ask, found.choice, place, tokens[place]
            ):
                return found._replace(verdict="tie")
        return found

    def _excused(self, record: Record, error: str) -> bool:
        end = record.ended[-1].time
        return any(
            error in e.errors and record.submitted <= e.end and end >= e.start for e in self.excuses
        )


HTTP_DIED = frozenset({BROKEN})
NO_SPACE = frozenset({"no_shared_memory"})
NO_FILES = frozenset({"too_many_open_files"})
