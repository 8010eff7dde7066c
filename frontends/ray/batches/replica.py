"""What Ray holds one of for each replica: an engine, which answers blocks of rows. It is replaced
when it dies; Ray does the same for the process that this is in."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from ....protocol.config.engine import EngineConfig
from ....protocol.errors import STATUS, EngineError, RequestError, invalid
from ...engine import EngineHandle, start_engine
from ...openai.app import BATCHED
from ...openai.batches.lines import MAX_LINE, Line, read_line, undone
from ...openai.within import Answered, Within
from ...python.loop_thread import LoopThread
from .rows import RowForm, id_of, line_of

log = logging.getLogger(__name__)

PUT_OFF = (429, 503)
"""The engine is full, or gone: what was asked may be asked again."""
TRIES = 6
BACKOFF = (0.2, 5.0)
"""Seconds before another try: at first, and at most."""


@dataclass(frozen=True)
class InFile:
    """Rows have `start`: where in a batch's file their lines begin."""

    source: str


RowsFrom = InFile | RowForm
EngineStarter = Callable[[], "RunningEngine"]


class RunningEngine:
    """An engine of this process, and what asks it."""

    def __init__(self, engine: EngineConfig) -> None:
        self._handle: EngineHandle = start_engine(engine)
        self._loop = LoopThread("thespis-batch")
        try:
            self._within = self._loop.call(Within.connect(self._handle.run_dir, engine))
        except BaseException:
            self.stop()
            raise

    @property
    def runs(self) -> bool:
        return self._handle.running

    def answers(self, lines: Sequence[Line]) -> list[Answered]:
        return self._loop.call(self._all(lines))

    async def _all(self, lines: Sequence[Line]) -> list[Answered]:
        return list(await asyncio.gather(*map(self._one, lines)))

    async def _one(self, line: Line) -> Answered:
        await self._within.places.take(len(line.body))
        try:
            return await self._within.answer(line)
        finally:
            self._within.places.give(len(line.body))

    def stop(self) -> None:
        self._loop.close(1.0)
        self._handle.stop()


class Replica:
    """Called with blocks of rows, by several threads at once. Never raises for what a row asks: Ray
    would end the batch. Raises RequestError for a row without an id, under which no answer could
    stand, and EngineError where no engine starts."""

    def __init__(self, start: EngineStarter, reading: RowsFrom) -> None:
        self._start, self._reading = start, reading
        self._engine: RunningEngine | None = None
        self._starting = threading.Lock()

    def answers(self, rows: Sequence[dict[str, Any]]) -> list[tuple[str, Answered]]:
        """With the rows' ids, in any order."""
        done, lines = list[tuple[str, Answered]](), list[Line]()
        for id, read in self._read(rows):
            if isinstance(read, Line):
                lines.append(read)
            else:
                done.append((id, read))
        if not lines:
            return done
        wait, most = BACKOFF
        for left in reversed(range(TRIES)):
            again = list[Line]()
            for line, answer in zip(lines, self._running().answers(lines), strict=True):
                if answer.status in PUT_OFF and left:
                    again.append(line)
                else:
                    done.append((line.custom_id, answer))
            if not again:
                break
            lines = again
            time.sleep(wait)
            wait = min(most, 2 * wait)
        return done

    def _running(self) -> RunningEngine:
        with self._starting:
            if self._engine is not None and not self._engine.runs:
                log.warning("the engine of this replica has ended; another one is started")
                self._engine.stop()
                self._engine = None
            if self._engine is None:
                self._engine = self._start()
            return self._engine

    def _read(self, rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Line | Answered]]:
        if isinstance(self._reading, InFile):
            with open(self._reading.source, "rb") as file:
                for row in rows:
                    line = _line_at(file, row["start"])
                    yield line.custom_id, line
            return
        for row in rows:
            id = id_of(row.get(self._reading.id_column))
            yield id, _line_or_refusal(id, row, self._reading)


def _line_at(file: BinaryIO, start: int) -> Line:
    file.seek(start)
    try:
        return read_line(file.readline(MAX_LINE + 1), None)
    except RequestError:
        raise EngineError("The file of requests was changed while the batch ran.") from None


def _line_or_refusal(id: str, row: dict[str, Any], form: RowForm) -> Line | Answered:
    try:
        line = line_of(row, form)
        if line.url not in BATCHED:
            paths = ", ".join(BATCHED)
            raise invalid(f"Batches are for these paths: {paths}.", "url", "invalid_url")
    except RequestError as error:
        failure = error.failure
        told = {"code": str(failure.code or failure.kind), "message": str(error)}
        return Answered(undone(id, told), 0, STATUS[failure.kind])
    return line
