"""The fetcher's shell: requests with URLs in, the same requests with bytes out. The one place that
fetches anything."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import aiohttp
import anyio
import msgspec
from aiohttp.abc import AbstractResolver

from ...protocol.config.roles import FetcherConfig
from ...protocol.edges.client_to_fetcher import Fetch, Withdraw
from ...protocol.edges.control import Gone, Peer
from ...protocol.edges.shared import MediaRead
from ...protocol.errors import EngineError, Failure
from ...protocol.memory.blobs import Arena, BlobRef, arena_limit
from ...protocol.memory.shortage import SpaceError, shortage
from ...protocol.topology import CLIENT, PREPROCESSOR, kind_of
from ..kernel.actor import Actor, run
from ..kernel.launch import Launch
from .at_hand import FileOpener, Opened, OpenFile
from .connection import CheckedConnector, CheckedResolver
from .download import Downloader
from .download_table import (
    Cancel,
    Download,
    DownloadAction,
    DownloadTable,
    FreeBytes,
    Linger,
    Start,
    ToClient,
    ToPreprocessor,
)
from .local import open_local, read_at_hand
from .policy import FetchError, Policy

log = logging.getLogger(__name__)
MAX_DOWNLOADS = 32
"""At once."""
AT_ONCE_SECONDS = 1.0
"""How long after a download's end its bytes still answer the same URL."""
FILE = "file:"
LINGER_SECONDS = 120.0
"""How long the bytes of an ended request are kept without a `MediaRead`; longer than a decode may
take."""


class Fetcher(Actor):
    downloader: Downloader
    config: FetcherConfig

    def __init__(
        self,
        launch: Launch,
        resolver: Callable[[Policy], AbstractResolver] = CheckedResolver,
        connector: Callable[[Policy, AbstractResolver], aiohttp.BaseConnector] = CheckedConnector,
    ) -> None:
        """Tests give makers of their own; the policy is always the operator's."""
        super().__init__(launch)
        self._make_resolver, self._make_connector = resolver, connector
        self.table = DownloadTable()
        self.arena: Arena | None = None
        self._running: dict[Download, anyio.CancelScope] = {}
        self._opener = FileOpener(self._open, self._take, self._guard)
        self._limiter = anyio.Semaphore(MAX_DOWNLOADS)
        self._bytes = 0
        """Held and being read, over all downloads."""
        self._total_bytes = self._refused = self._failed = 0

    async def on_start(self, config: bytes) -> dict[str, int]:
        self.config = msgspec.json.decode(config, type=FetcherConfig)
        try:
            policy = Policy(self.config.allowed_domains, self.config.allow_private)
        except ValueError as error:
            raise EngineError(f"allowed_media_domains: {error}") from None
        resolver = self._make_resolver(policy)
        self.downloader = Downloader(
            self.config, policy, resolver, self._make_connector(policy, resolver)
        )
        writer = f"{self.launch.role}.{self.launch.epoch}"
        self.arena = Arena(self.launch.directory, writer, arena_limit(self.config.arena_bytes))
        await self.downloader.open()
        self._opener.open()
        return {}

    async def on_stop(self) -> None:
        self._opener.close()
        if self.arena is not None:
            await self.downloader.close()
            self.arena.close()

    def on_message(self, sender: str, message: Any) -> None:
        match message:
            case Fetch(request, after):
                self._apply(self.table.open(request, after))
            case Withdraw(id, attempt):
                self._apply(self.table.withdraw(id, attempt))
            case MediaRead(id, attempt):
                self._apply(self.table.read(id, attempt))

    def on_end(self, ids: tuple[str, ...]) -> None:
        self._apply(self.table.end(ids))

    def on_peer(self, role: str, peer: Peer) -> None:
        if role == PREPROCESSOR:
            self._apply(self.table.undelivered())

    def on_gone(self, gone: Gone) -> None:
        if gone.role == PREPROCESSOR:
            self._apply(self.table.preprocessor_gone())
        elif kind_of(gone.role) == CLIENT:
            self._apply(self.table.client_gone(gone.incarnation))

    def counters(self) -> dict[str, float]:
        cache = self.downloader.cache
        return {
            "downloads": self.downloader.downloads,
            "shared": self.table.shared,
            "bytes": self._total_bytes,
            "refused": self._refused,
            "failed": self._failed,
            "open_requests": len(self.table),
            "in_flight": len(self._running) + len(self._opener),
            "held_bytes": self._bytes,
            "cache_hits": cache.hits if cache is not None else 0,
            "cache_bytes": cache.nbytes if cache is not None else 0,
        }

    def _apply(self, effects: Iterable[DownloadAction]) -> None:
        for effect in effects:
            match effect:
                case Start(download) if download.url[:5].lower() == FILE:
                    self._opener.add(download)
                case Start(download):
                    self._start(download)
                case Cancel(download) if download in self._running:
                    self._running[download].cancel()
                case FreeBytes(blob):
                    assert self.arena is not None
                    self.arena.free(blob)
                    self._bytes -= blob.nbytes
                case ToPreprocessor(message, after):
                    if self.send(PREPROCESSOR, message, after):
                        self.table.delivered(message.request.id, message.request.attempt)
                case ToClient(client, message):
                    self.send(client, message)
                case Linger(id, attempt):
                    self._later(LINGER_SECONDS, partial(self.table.read, id, attempt))

    def _later(self, seconds: float, step: Callable[[], list[DownloadAction]]) -> None:
        def take() -> None:
            self._apply(step())

        asyncio.get_running_loop().call_later(seconds, self._guard, take)

    def _open(self, url: str) -> OpenFile | None:
        return open_local(url, self.config.local_path, self.config.max_bytes)

    def _take(self, opened: Opened) -> None:
        """What can be read at once is; for the rest there is a task."""
        download, made, began = opened
        try:
            if isinstance(made, Exception):
                raise made
            if download.wanted and not (made and self._read(download, made, began)):
                self._start(download)
        except Exception as error:
            if download.wanted:
                self._give_up(download, error)
        finally:
            if isinstance(made, OpenFile):
                os.close(made.descriptor)

    def _read(self, download: Download, file: OpenFile, began: float) -> bool:
        """Into the place that it will have. False: it would have to wait for a disk."""
        self._account(file.nbytes)
        try:
            blob, view = self._room(file.nbytes)
        except SpaceError:
            self._account(-file.nbytes)
            raise
        if not read_at_hand(file, view):
            assert self.arena is not None
            self.arena.free(blob)
            self._account(-file.nbytes)
            return False
        self._land(download, blob, began)
        return True

    def _start(self, download: Download) -> None:
        self._running[download] = anyio.CancelScope()
        self.tasks.start_soon(self._run, download)

    async def _run(self, download: Download) -> None:
        """One download, to its end; cancelled when nobody waits for it."""
        with self._running[download]:
            try:
                await self._download(download)
            except Exception as error:
                self._give_up(download, error)
        del self._running[download]

    def _give_up(self, download: Download, error: Exception) -> None:
        failure = _failure_of(error, download)
        self._refused += failure.kind == "invalid_request"
        self._failed += failure.kind != "invalid_request"
        self._apply(self.table.failed(download, failure))

    async def _download(self, download: Download) -> None:
        async with self._limiter:
            start = time.monotonic()
            data = await self.downloader.get(download.url, download.modality, self._account)
        if not download.wanted:  # the last of its requests ended while the last bytes came
            self._account(-len(data))
            return
        try:
            blob, view = self._room(len(data))
        except SpaceError:
            self._account(-len(data))
            raise
        with view:
            view[:] = data
        self._land(download, blob, start)

    def _land(self, download: Download, blob: BlobRef, began: float) -> None:
        """Its bytes, which are accounted for, are there."""
        self._total_bytes += blob.nbytes
        self._apply(self.table.landed(download, blob, (began, time.monotonic())))
        self._later(AT_ONCE_SECONDS, partial(self.table.retire, download))

    def _room(self, nbytes: int) -> tuple[BlobRef, memoryview]:
        assert self.arena is not None
        try:
            return self.arena.allocate("uint8", (nbytes,))
        except SpaceError:
            self._give_up_idle()
            return self.arena.allocate("uint8", (nbytes,))

    def _account(self, delta: int) -> None:
        """Every byte is counted before it is kept. Raises FetchError where there is no room."""
        if delta > 0 and self._bytes + delta > self.config.arena_bytes:
            self._give_up_idle()
            if self._bytes + delta > self.config.arena_bytes:
                text = "There is no room for more downloads now; try again later."
                raise FetchError("overloaded", text)
        self._bytes += delta

    def _give_up_idle(self) -> None:
        for download in self.table.idle():
            self._apply(self.table.retire(download))


def _failure_of(error: Exception, download: Download) -> Failure:
    """A shortage on this machine counts for more than the error that it caused. The remote end is
    not trusted: whatever its bytes make a library raise ends this download alone."""
    if (short := shortage(error)) is not None:
        return short
    if isinstance(error, FetchError):
        return Failure(error.kind, error.text, code=error.code)
    log.error("a download failed in an unforeseen way", exc_info=error)
    return Failure("internal", f"The {download.modality} could not be fetched.")


def main(launch: Launch) -> None:
    run(Fetcher(launch))
