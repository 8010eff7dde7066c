"""All that one server stores, for its event loop: what blocks is done by a few threads."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from ....protocol.cache import data_home
from ....protocol.errors import Failure, RequestError, refuse
from ....protocol.memory.shortage import NO_SPACE, shortage
from .books import Bounds
from .ids import BATCHES, FILES, RESPONSES, Family
from .store import Draft, Entry, Store

log = logging.getLogger(__name__)
A = ParamSpec("A")
R = TypeVar("R")

THREADS = 4
SOME_SECONDS = 0.02
"""That one of them is held at once by what takes long."""
SWEEP_SECONDS = 600.0
"""Between two sweeps of what is over."""
NO_DISK = Failure(
    "unavailable",
    "The server's disk has no room left for this; try again later.",
    code="no_disk_space",
)
UNUSABLE = Failure(
    "unavailable",
    "The server cannot use the folder in which it stores; its log says why.",
    code="storage_unavailable",
)


class Storage:
    """`max_bytes`: of each family; 0: nothing is stored. With keys, one may take half of it."""

    def __init__(
        self, folder: str | None, max_bytes: int, keyed: bool = False, hasher: str = "blake3"
    ) -> None:
        self._max_bytes = max_bytes
        root = _root(folder)
        own = max_bytes // 2 if keyed else max_bytes

        def store(family: Family) -> Store:
            return Store(root, family, Bounds(own, max_bytes), hasher)

        self.files, self.responses, self.batches = map(store, (FILES, RESPONSES, BATCHES))
        self._root = root
        self._threads = ThreadPoolExecutor(THREADS, "stored")
        self._sweeper: asyncio.Task[None] | None = None
        self._beginning: set[asyncio.Future[Draft]] = set()
        """Entries that are about to be begun."""
        self._told = False

    @property
    def used(self) -> bool:
        """Whether anything may have been stored before."""
        return bool(self._max_bytes) and self._root.is_dir()

    @property
    def on(self) -> bool:
        """Whether anything is stored."""
        return self._max_bytes > 0

    async def sums(self) -> dict[str, tuple[int, int]]:
        """Entries and bytes by kind, of all tenants; none where they cannot be looked at."""
        if not self.used:
            return {}
        try:
            return await self.run(self._sums)
        except RequestError:
            return {}

    def _sums(self) -> dict[str, tuple[int, int]]:
        stores = (self.files, self.responses, self.batches)
        return {store.family.folder: store.stored() for store in stores}

    async def run(self, work: Callable[A, R], *args: A.args, **more: A.kwargs) -> R:
        """Do what blocks. Once begun it is done to its end, though its caller leave. Raises
        RequestError."""
        if not self._max_bytes:
            text = "This server stores nothing: it was started with --max-stored-gb 0."
            raise refuse("unsupported", text, code="storage_off")
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep())
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.shield(
                loop.run_in_executor(self._threads, lambda: work(*args, **more))
            )
        except OSError as error:
            raise self._failed(error) from error

    async def run_through(self, steps: Iterator[object]) -> None:
        """Do what takes long, some of it at a time: what others want done comes in between. Raises
        RequestError."""
        while await self.run(_some, steps):
            pass

    @asynccontextmanager
    async def opened(self, store: Store, tenant: str, id: str) -> AsyncIterator[tuple[Entry, int]]:
        """An entry with a descriptor of its content, which is closed whenever its caller leaves.
        Raises RequestError."""
        opening = asyncio.ensure_future(self.run(store.open, tenant, id))
        try:
            entry, file = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close)
            raise
        try:
            yield entry, file
        finally:
            os.close(file)

    @asynccontextmanager
    async def draft(self, store: Store, tenant: str) -> AsyncIterator[Draft]:
        """A new entry; unless it is kept within the block, it leaves nothing. Raises
        RequestError."""
        beginning = asyncio.ensure_future(self.run(store.begin, tenant))
        self._beginning.add(beginning)
        beginning.add_done_callback(self._beginning.discard)
        try:
            draft = await asyncio.shield(beginning)
        except asyncio.CancelledError:
            beginning.add_done_callback(self._drop)
            raise
        try:
            yield draft
        finally:
            await self.run(draft.drop)

    def _drop(self, beginning: "asyncio.Future[Draft]") -> None:
        """Whoever had begun it has left."""
        if beginning.cancelled() or beginning.exception() is not None:
            return
        drop = beginning.result().drop
        try:
            self._threads.submit(drop)
        except RuntimeError:  # the server ends
            drop()

    def begin_sweeping(self) -> None:
        """At a start, so that what is over goes though nobody asks; no folder is made for it."""
        if self.used and self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep())

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await asyncio.gather(*self._beginning, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            for store in (self.files, self.responses, self.batches):
                try:
                    swept = await loop.run_in_executor(self._threads, store.sweep)
                except OSError as error:
                    self._failed(error)
                except Exception:
                    log.exception("stored %s could not be swept", store.family.folder)
                else:
                    if swept:
                        log.info("%d stored %s were over", swept, store.family.folder)
            await asyncio.sleep(SWEEP_SECONDS)

    def _failed(self, error: OSError) -> RequestError:
        if (short := shortage(error)) is not None:
            return RequestError(NO_DISK if short == NO_SPACE else short)
        if not self._told:
            self._told = True
            log.error(
                "the folder %r, in which files and answers are stored, cannot be used (%s): "
                "give another by --data-folder",
                str(self._root),
                error.strerror,
            )
        return RequestError(UNUSABLE)


def _some(steps: Iterator[object]) -> bool:
    """Whether there is more."""
    until = time.monotonic() + SOME_SECONDS
    return any(time.monotonic() > until for _ in steps)


def _close(opening: "asyncio.Future[tuple[Entry, int]]") -> None:
    """Whoever had opened it has left."""
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result()[1])


def _root(folder: str | None) -> Path:
    if folder is not None:
        return Path(folder).expanduser()
    try:
        return data_home()
    except RuntimeError:  # a user without a home
        return Path("/nonexistent")
