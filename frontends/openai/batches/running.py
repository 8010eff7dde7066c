"""The batches that this server runs: all of its model that no other server has in hand."""

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from aiohttp import web

from ....protocol.errors import RequestError
from ..app_state import APP_STATE
from ..stored import folder
from ..stored.store import Entry
from .inner import Handler
from .job import BatchJob
from .note import UNDER_WAY, BatchNote, Status, note_of
from .places import Places

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Batches; their lines take turns."""
MOST_LINES = 64
MOST_BYTES = 64 << 20
"""Of lines that are in the engine at once."""
LOOK_SECONDS = 30.0
"""Between two looks for batches that another server has left."""


class _Taken(NamedTuple):
    tenant: str
    entry: Entry
    held: int
    """A descriptor that holds its folder."""


class Batches:
    """`handlers`: of the paths whose requests may come in batches."""

    def __init__(self, app: web.Application, handlers: Mapping[str, Handler]) -> None:
        self._app, self.handlers = app, handlers
        self._state = state = app[APP_STATE]
        share = state.client.admission.share.requests
        lines = min(MOST_LINES, state.config.engine.max_num_seqs, share // 2)
        self._places = Places(max(1, lines), MOST_BYTES)
        self._wake = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._tasks: dict[str, asyncio.Task[bool]] = {}
        self._jobs: dict[str, BatchJob] = {}
        for status in UNDER_WAY:
            state.metrics.count_batches(status, partial(self._count, status))

    def _count(self, status: Status) -> int:
        """Of those that run here."""
        return sum(job.note.status == status for job in self._jobs.values())

    def live(self, id: str) -> BatchNote | None:
        """Of a batch that runs here: how far it is now."""
        return self._jobs[id].note if id in self._jobs else None

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()
        self.watch()

    def watch(self) -> None:
        """There are batches, which another server may leave."""
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())

    async def open(self, app: web.Application) -> None:
        """With the app: go on with what was begun before this start."""
        if self._state.storage.used:
            self.wake()

    async def close(self, app: web.Application) -> None:
        """With the app. What is under way is begun again by the next process."""
        tasks = [*self._tasks.values(), *([self._watcher] if self._watcher else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        while not self._state.draining:
            self._wake.clear()
            try:
                for tenant, entry, held in await self._taken():
                    task = asyncio.create_task(self._run(tenant, entry))
                    self._tasks[entry.id] = task
                    task.add_done_callback(partial(self._over, entry.id, held))
            except RequestError:
                pass  # it is logged, and may pass
            except Exception:
                log.exception("batches could not be looked for")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS)

    async def _taken(self) -> list[_Taken]:
        taking = asyncio.ensure_future(
            self._state.storage.run(self._take, AT_ONCE - len(self._tasks))
        )
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(_let_go)
            raise

    def _over(self, id: str, held: int, task: "asyncio.Task[bool]") -> None:
        os.close(held)
        del self._tasks[id]
        over = self._jobs.pop(id, None)
        if over is not None and over.note.ended:
            self._state.metrics.batch_ended(over.note.status)
        if not task.cancelled() and task.result():  # else it is tried again at the next look
            self._wake.set()

    def _waiting(self) -> list[tuple[str, Entry]]:
        """The oldest first. In a thread."""
        store, found = self._state.storage.batches, list[tuple[str, Entry]]()
        for tenant in store.tenants():
            for entry in store.entries(tenant, descending=False):
                note = note_of(entry)
                mine = note.model == self._state.terms.model and note.endpoint in self.handlers
                if mine and not note.ended and entry.id not in self._tasks:
                    found.append((tenant, entry))
        return sorted(found, key=lambda one: one[1].id)

    def _take(self, most: int) -> list[_Taken]:
        """Those that no other server has in hand. In a thread."""
        store, taken = self._state.storage.batches, list[_Taken]()
        for tenant, entry in self._waiting() if most > 0 else ():
            held = folder.lock(store.place(tenant, entry.id), wait=False)
            if held is not None:
                taken.append(_Taken(tenant, entry, held))
            if len(taken) == most:
                break
        return taken

    async def _run(self, tenant: str, entry: Entry) -> bool:
        """Whether it has come to its end."""
        storage = self._state.storage
        try:
            # as it is now that nobody else has it in hand
            entry = await storage.run(storage.batches.find, tenant, entry.id)
            if not note_of(entry).ended:
                job = BatchJob(self._app, self.handlers, self._places, tenant, entry)
                self._jobs[entry.id] = job
                await job.run()
                log.info("batch %s: %s", entry.id, job.note.status)
                return job.note.ended
        except RequestError as error:
            log.warning("batch %s: %s", entry.id, error)
        except Exception:
            log.exception("batch %s", entry.id)
            if (broken := self._jobs.get(entry.id)) is not None:
                return await self._given_up(broken, entry.id)
        return False

    async def _given_up(self, job: BatchJob, id: str) -> bool:
        """Whether its owner can be told. What was not foreseen would come again at every look."""
        try:
            await job.give_up()
        except Exception:
            log.exception("batch %s: it cannot be stored that it failed", id)
            return False
        return True


def _let_go(taking: "asyncio.Future[list[_Taken]]") -> None:
    """The server ends."""
    if not taking.cancelled() and taking.exception() is None:
        for one in taking.result():
            os.close(one.held)


BATCHES: web.AppKey[Batches] = web.AppKey("batches", Batches)
