"""One batch, run to its end or as far as this process gets: validated, answered line by line, and
its answers stored as files. Another process goes on where it stopped, and does no line again."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec
from aiohttp import web

from ....protocol.errors import RequestError
from ..app_state import APP_STATE
from ..stored.files import BATCH_OUTPUT, BATCH_SECONDS, FileNote
from ..stored.files import note_of as file_note_of
from ..stored.folder import read_small
from ..stored.store import Entry
from .inner import Handler, Inner, ask
from .journal import PIECE, Journal, lines_of
from .lines import (
    EXPIRED,
    MAX_LINE,
    MAX_LINES,
    NO_STREAM,
    Line,
    body_of,
    is_streamed,
    read_line,
    row,
    undone,
)
from .note import BatchError, Counts, Status, note_of
from .places import Places

log = logging.getLogger(__name__)
R = TypeVar("R")

OUTPUT, ERRORS, CANCEL = "output.jsonl", "errors.jsonl", "cancel"
MOST_ERRORS = 20
SAVE_SECONDS = 5.0
"""Between two notes of how far it is."""
LOOK_SECONDS = 1.0
"""Between two looks at whether it is to end."""
BACKOFF = (0.2, 10.0)
"""Seconds that a line waits where the engine is full: at first, and at most."""
KEPT_SECONDS = 30 * 86_400.0
"""How long an ended batch is known."""
PUT_OFF = (429, 503)


def cancelled_at(place: Path) -> float | None:
    """When its owner asked for its end."""
    data = read_small(place / CANCEL, 64)
    return float(data) if data else None


def _something(path: Path) -> BinaryIO | None:
    """A file, if there is anything in it."""
    with suppress(FileNotFoundError):
        if path.stat().st_size:
            return open(path, "rb")
    return None


class BatchStopped(Exception):
    """It is to end; its argument is the status that it ends in, None: another process goes on."""


class BatchJob:
    """The caller holds the entry's folder."""

    def __init__(
        self, app: web.Application, handlers: Mapping[str, Handler], places: Places, tenant: str,
        entry: Entry,
    ) -> None:  # fmt: skip
        self._app, self._state = app, app[APP_STATE]
        self._storage = self._state.storage
        self._handlers, self._places = handlers, places
        self._tenant, self._entry = tenant, entry
        self.note = note_of(entry)
        self._place = self._storage.batches.place(tenant, entry.id)
        self._output: Journal | None = None
        self._errors: Journal | None = None
        self._writing = asyncio.Lock()
        self._room = self._storage.files.room(tenant)
        """Of the journals, which become files."""
        self._saved = 0.0

    async def run(self) -> None:
        """Raises RequestError where it cannot be stored how far it is."""
        try:
            if self.note.status == "validating":
                await self._check_end()
                await self._validate()
            if self.note.status == "in_progress":
                await self._answer()
                await self._to("finalizing")
            ending: Status = "completed"
        except BatchStopped as stopped:
            if stopped.args[0] is None:
                await self._save()
                return
            ending = stopped.args[0]
        except RequestError as error:  # of what is stored
            self.note.errors.append(BatchError(str(error.failure.code), error.failure.text))
            ending = "failed"
        finally:
            await self._run(self._close)
        await self._end(ending)

    async def give_up(self) -> None:
        """After `run` has raised what was not foreseen: it ends as failed, with what there is.
        Raises RequestError where that cannot be stored."""
        text = "The server could not go on with this batch: its log says why. Send it again."
        self._wrong("internal_error", text)
        try:
            await self._end("failed")
        except Exception:  # the same again, perhaps
            log.exception("what batch %s has answered could not be stored", self._entry.id)
            await self._to("failed")

    # validating

    async def _validate(self) -> None:
        entry, file = await self._open_input()
        with file:
            if file_note_of(entry).purpose != "batch":
                self._wrong("invalid_purpose", "The file's purpose is not `batch`.")
            else:
                await self._storage.run_through(self._look_through(file))
        if self.note.errors:
            raise BatchStopped("failed")
        await self._to("in_progress")

    def _look_through(self, file: BinaryIO) -> Iterator[None]:
        """In a thread, like the other iterators here."""
        known: set[str] = set()
        for number, data in lines_of(file):
            yield
            if len(self.note.errors) >= MOST_ERRORS:
                return
            try:
                if data is None:
                    text = f"The line has more than {MAX_LINE >> 20} MiB."
                    self._wrong("line_too_long", text, number)
                    continue
                line = read_line(data, self.note.endpoint)
            except RequestError as error:
                failure = error.failure
                self._wrong(str(failure.code), failure.text, number, failure.part)
                continue
            if line.custom_id in known:
                text = "This `custom_id` comes twice."
                self._wrong("duplicate_custom_id", text, number, "custom_id")
            known.add(line.custom_id)
            if len(known) > MAX_LINES:
                self._wrong("too_many_lines", f"The file has more than {MAX_LINES} requests.")
                return
        if not known and not self.note.errors:
            self._wrong("empty_file", "The file has no requests.")
        self.note.counts = Counts(total=len(known))

    def _wrong(
        self, code: str, text: str, line: int | None = None, part: str | None = None
    ) -> None:
        self.note.errors.append(BatchError(code, text, line, part))

    async def _open_input(self) -> tuple[Entry, BinaryIO]:
        try:
            entry, fd = await self._storage.run(
                self._storage.files.open, self._tenant, self.note.input_file_id
            )
        except RequestError:
            self._wrong("input_file_gone", "The input file was deleted, or is over.")
            raise BatchStopped("failed") from None
        return entry, os.fdopen(fd, "rb", PIECE)

    # answering

    async def _answer(self) -> None:
        self._output, self._errors = await self._run(self._journals)
        await self._run(self._room.grow, self._out.size + self._err.size)
        self._count()
        _, file = await self._open_input()
        stopper: asyncio.Task[None] | None = None
        try:
            with file:
                async with asyncio.TaskGroup() as lines:
                    stopper = lines.create_task(self._look_for_an_end())
                    await self._begin_all(lines_of(file), lines)
                    stopper.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        for journal in (self._out, self._err):
            await self._run(journal.sync)

    async def _begin_all(
        self, lines: Iterator[tuple[int, bytes | None]], tasks: asyncio.TaskGroup
    ) -> None:
        own: set[asyncio.Task[None]] = set()
        while (found := await self._run(next, lines, None)) is not None:
            data = found[1]
            assert data is not None, "the file was looked through"
            line = read_line(data, self.note.endpoint)
            if line.custom_id in self._out.ids or line.custom_id in self._err.ids:
                continue
            await self._places.take(len(data))
            task = tasks.create_task(self._one(line))
            own.add(task)
            task.add_done_callback(own.discard)
            task.add_done_callback(partial(self._give, len(data)))
        while own:
            await asyncio.wait(own)

    def _give(self, size: int, task: "asyncio.Task[None]") -> None:
        self._places.give(size)

    async def _one(self, line: Line) -> None:
        body = body_of(line)
        if is_streamed(body):
            await self._add(self._err, line, undone(line.custom_id, NO_STREAM))
            return
        answer = await self._asked(line.url, body)
        written = row(line.custom_id, answer.status, answer.body, answer.id)
        await self._add(self._out if answer.status == 200 else self._err, line, written)

    async def _asked(self, path: str, body: bytes) -> Inner:
        """Again and again, while the engine is full: a batch can wait. Raises BatchStopped."""
        wait, most = BACKOFF
        while True:
            answer = await ask(self._app, self._handlers[path], path, self._tenant, body)
            if answer.status not in PUT_OFF:
                return answer
            if self._state.draining:
                raise BatchStopped(None)
            await asyncio.sleep(wait)
            wait = min(most, 2 * wait)

    async def _add(self, journal: Journal, line: Line, written: bytes) -> None:
        async with self._writing:
            await self._run(self._add_within, journal, line, written)
        self._count()

    def _add_within(self, journal: Journal, line: Line, written: bytes) -> None:
        """In a thread."""
        self._room.grow(len(written))
        journal.add(written, line.custom_id)

    async def _look_for_an_end(self) -> None:
        """Raises BatchStopped when its owner, its window or this process ends it."""
        while True:
            await self._check_end()
            if time.monotonic() - self._saved > SAVE_SECONDS:
                await self._save()
            await asyncio.sleep(LOOK_SECONDS)

    async def _check_end(self) -> None:
        if self._state.draining:
            raise BatchStopped(None)
        if await self._run(cancelled_at, self._place) is not None:
            raise BatchStopped("cancelled")
        if time.time() > self._entry.created + self.note.window_seconds:
            raise BatchStopped("expired")

    def _count(self) -> None:
        counts = self.note.counts
        counts.completed, counts.failed = len(self._out.ids), len(self._err.ids)

    # the end

    async def _end(self, status: Status) -> None:
        """Store what there is, and say so."""
        if status == "expired":
            with suppress(RequestError):  # the input is over, too
                await self._storage.run_through(self._give_up_the_rest())
        for name in (OUTPUT, ERRORS):
            try:
                id = await self._stored(name)
            except RequestError as error:
                self._wrong(str(error.failure.code), error.failure.text)
                status = "failed"
                continue
            if name == OUTPUT:
                self.note.output_file_id = self.note.output_file_id or id
            else:
                self.note.error_file_id = self.note.error_file_id or id
            await self._save()
        over = msgspec.structs.replace(self._entry, expires=time.time() + KEPT_SECONDS)
        self._entry = over
        await self._to(status)
        await self._run(self._remove_journals)

    def _give_up_the_rest(self) -> Iterator[None]:
        _, fd = self._storage.files.open(self._tenant, self.note.input_file_id)
        out, err = self._journals()
        with os.fdopen(fd, "rb", PIECE) as file, closing(out), closing(err):
            for _, data in lines_of(file):
                yield
                id = read_line(data or b"", self.note.endpoint).custom_id
                if id not in out.ids and id not in err.ids:
                    err.add(undone(id, EXPIRED), id)
        self.note.counts.completed, self.note.counts.failed = len(out.ids), len(err.ids)

    async def _stored(self, name: str) -> str | None:
        """The id of a file with what a journal has."""
        storage = self._storage
        file = await self._run(_something, self._place / name)
        if file is None:
            return None
        with file:
            async with storage.draft(storage.files, self._tenant) as draft:
                pieces = iter(partial(file.read, PIECE), b"")
                await storage.run_through(map(draft.write, pieces))
                note = FileNote(f"{self._entry.id}_{name}", BATCH_OUTPUT)
                kept = self.note.output_seconds or BATCH_SECONDS
                return (await self._run(draft.keep, note, kept)).id

    def _remove_journals(self) -> None:
        for name in (OUTPUT, ERRORS):
            (self._place / name).unlink(missing_ok=True)

    def _journals(self) -> tuple[Journal, Journal]:
        return Journal(self._place / OUTPUT), Journal(self._place / ERRORS)

    @property
    def _out(self) -> Journal:
        assert self._output is not None
        return self._output

    @property
    def _err(self) -> Journal:
        assert self._errors is not None
        return self._errors

    def _close(self) -> None:
        """In a thread: others may still write there."""
        for journal in (self._output, self._errors):
            if journal is not None:
                journal.close()
        self._room.release()  # what is there becomes files, or another process counts it

    async def _to(self, status: Status) -> None:
        self.note.status = status
        self.note.times = {**self.note.times, status: time.time()}
        await self._save()

    async def _save(self) -> None:
        self._saved = time.monotonic()
        self._entry = await self._run(
            self._storage.batches.replace, self._tenant, self._entry, self.note
        )

    async def _run(self, work: Callable[..., R], *args: object) -> R:
        return await self._storage.run(work, *args)
