"""The download cache on disk: what one URL gave answers it again, across requests and restarts, for
a bounded time.

    FOLDER/thespis-media/lock
    FOLDER/thespis-media/notes/<digest of URL and rules>    what it gave and until when, as JSON
    FOLDER/thespis-media/contents/<digest of the bytes>     the bytes

No name comes from outside. A content counts only if it is whole: the digest of what was read must
be its name. One engine per folder.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import msgspec

from ...protocol.cache import make_private
from ...protocol.errors import EngineError
from ...protocol.memory.blobs import Bytes
from .freshness import NONE, Validators
from .local import read_whole
from .shelf import Evicted, Note, Shelf

log = logging.getLogger(__name__)
T = TypeVar("T")
BACKLOG_BYTES = 64 << 20
"""Waiting to be written; beyond it a download is not kept: memory is for requests."""
_NAME = re.compile(r"[0-9a-f]{64}")
_MAX_NOTE = 1024
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW


class DiskCache:
    """Records on the loop's thread, files in worker threads. `rules`: the policy's, so that no
    answer outlives them."""

    def __init__(
        self,
        folder: str | Path,
        max_bytes: int,
        max_seconds: float,
        rules: Iterable[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = Path(folder) / "thespis-media"
        self._notes, self._contents = self._root / "notes", self._root / "contents"
        self._shelf = Shelf(max_bytes, max_seconds)
        self._max_seconds = max_seconds
        self._rules = msgspec.json.encode(list(rules))
        self._clock = clock
        self._lock = -1
        self._writing = asyncio.Lock()
        """One writer at a time, so that the records and the files agree."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._backlog = 0
        self.hits = 0

    @property
    def nbytes(self) -> int:
        return self._shelf.nbytes

    async def open(self) -> None:
        """Raises EngineError where the folder cannot be used."""
        try:
            await asyncio.to_thread(self._open)
        except OSError as error:
            used = isinstance(error, BlockingIOError)
            why = "another engine uses it; give each its own" if used else error.strerror
            text = f"The media cache {str(self._root.parent)!r} cannot be used: {why}."
            raise EngineError(text) from None

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def find(self, url: str, admit: Callable[[int], None]) -> bytes | None:
        """What `url` gave, if it is there and whole. `admit` is told of the bytes before they are
        read; it may raise."""
        note = self._shelf.find(self._key(url), self._clock())
        return None if note is None else await self._take(url, note, admit)

    def stale(self, url: str) -> Note | None:
        """What it gave once, where its server may be asked whether it still does."""
        return self._shelf.stale(self._key(url), self._clock())

    async def confirmed(
        self, url: str, note: Note, seconds: float | None, admit: Callable[[int], None]
    ) -> bytes | None:
        """Its server says that it still gives this; None: it is not there or not whole. `seconds`,
        `admit`: as in `keep` and `find`; seconds None: it is not to be kept anew."""
        data = await self._take(url, note, admit)
        if data is not None and seconds is not None:
            self.keep(url, data, seconds, note.validators)
        return data

    async def _take(self, url: str, note: Note, admit: Callable[[int], None]) -> bytes | None:
        key = self._key(url)
        admit(note.size)
        data = None
        try:
            data = await asyncio.to_thread(self._read, note)
        finally:
            if data is None:
                admit(-note.size)
        if data is not None:
            self.hits += 1
        elif self._shelf.names(key) == note:
            await asyncio.to_thread(self._remove, self._shelf.drop(key))
        return data

    def keep(self, url: str, data: Bytes, seconds: float, validators: Validators = NONE) -> None:
        """Use it for at most this long without asking, and with `validators` ask about it later;
        returns at once. A full disk is only logged."""
        seconds = max(0.0, min(seconds, self._max_seconds))
        waiting = self._backlog and self._backlog + len(data) > BACKLOG_BYTES
        if not (seconds or validators) or waiting or not self._shelf.fits(len(data)):
            return
        self._backlog += len(data)
        task = asyncio.create_task(self._keep(self._key(url), data, seconds, validators))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep(self, key: str, data: Bytes, seconds: float, validators: Validators) -> None:
        try:
            async with self._writing:
                now = self._clock()
                digest = await asyncio.to_thread(_digest, data)
                until = now + self._max_seconds if validators else 0.0
                note = Note(digest, len(data), now + seconds, until, validators, seconds)
                await _to_the_end(self._write, key, note, data)
                gone = self._shelf.add(key, note, now)
                await _to_the_end(self._remove, gone)
                await _to_the_end(self._remove, self._shelf.expired(now))
        except OSError as error:
            log.warning("a download is not kept: %s", error.strerror)
        finally:
            self._backlog -= len(data)

    def _key(self, url: str) -> str:
        return sha256(self._rules + url.encode()).hexdigest()

    # in worker threads

    def _open(self) -> None:
        for folder in (self._root, self._notes, self._contents):
            make_private(folder)
        self._lock = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | _SAFE, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._take_stock()

    def _take_stock(self) -> None:
        """Rebuild the records from the files; half-written ones, and those that no note names, are
        removed."""
        now = self._clock()
        sizes: dict[str, tuple[float, int]] = {}
        with os.scandir(self._contents) as found:
            for entry in found:
                status = entry.stat(follow_symlinks=False)
                if _NAME.fullmatch(entry.name) and stat.S_ISREG(status.st_mode):
                    sizes[entry.name] = (status.st_mtime, status.st_size)
                else:
                    _unlink(Path(entry.path))
        notes: list[tuple[float, str, Note]] = []
        for path in list(self._notes.iterdir()):
            note = _read_note(path) if _NAME.fullmatch(path.name) else None
            if note is None or note.digest not in sizes or sizes[note.digest][1] != note.size:
                _unlink(path)
            else:
                notes.append((sizes[note.digest][0], path.name, note))
        for _, key, note in sorted(notes, key=lambda known: known[:2]):
            self._remove(self._shelf.add(key, note, now)._replace(digests=[]))
        for digest in sizes:
            if not self._shelf.holds(digest):
                _unlink(self._contents / digest)

    def _read(self, note: Note) -> bytes | None:
        path = self._contents / note.digest
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _SAFE)
            with open(descriptor, "rb", buffering=0) as file:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or status.st_size != note.size:
                    return None
                data = bytes(read_whole(file, note.size))
            os.utime(path)  # the order of use, for the next start
        except OSError:
            return None
        return data if len(data) == note.size and _digest(data) == note.digest else None

    def _write(self, key: str, note: Note, data: Bytes) -> None:
        fresh = not self._shelf.holds(note.digest)
        if fresh:
            _write_whole(self._contents / note.digest, data)
        try:
            _write_whole(self._notes / key, msgspec.json.encode(note))
        except OSError:
            if fresh:  # bytes that no note names would take room that nobody counts
                _unlink(self._contents / note.digest)
            raise

    def _remove(self, gone: Evicted) -> None:
        for key in gone.keys:
            _unlink(self._notes / key)
        for digest in gone.digests:
            _unlink(self._contents / digest)


async def _to_the_end(function: Callable[..., T], *arguments: object) -> T:
    """In a thread; a cancellation waits until it is done, so that the records never run ahead of
    the files."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await work
        raise


def _digest(data: Bytes) -> str:
    return sha256(data).hexdigest()


def _read_note(path: Path) -> Note | None:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | _SAFE), "rb") as file:
            note = msgspec.json.decode(file.read(_MAX_NOTE), type=Note)
    except (OSError, msgspec.MsgspecError):
        return None
    return note if _NAME.fullmatch(note.digest) else None


def _write_whole(path: Path, data: Bytes) -> None:
    """Under another name first: a name in these folders is a whole file."""
    part = path.with_name(f"{path.name}.part")
    _unlink(part)
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
        part.replace(path)
    except OSError:
        _unlink(part)
        raise


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
