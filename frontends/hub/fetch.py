"""Files of a model, fetched by a few threads; what is cut goes on, in this start or the next."""

import contextlib
import fcntl
import hashlib
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from ...protocol.errors import EngineError
from .cache import CachedModel
from .choice import HubFile
from .meter import Meter
from .words import BUGS, LASTING, broken, size

log = logging.getLogger(__name__)

THREADS = 4
SILENT_SECONDS = 20.0
"""For which a hub may send nothing before a transfer counts as cut."""
PAUSES = (1.0, 2.0, 4.0)
"""Seconds before another try, in a row that brings nothing new; then it is given up."""
LEAVING_SECONDS = 1.0
"""What the threads may take to keep what they have, when the person who waits has had enough."""
WATCH_SECONDS = 0.1
_CHUNK = 1 << 20


class Stopped(Exception):
    """The fetch was given up from outside."""


class Fetch:
    """Puts files of one commit into the cache. `run` blocks; any thread may set `stop`."""

    def __init__(
        self, model: str, cached: CachedModel, commit: str, meter: Meter, stop: threading.Event
    ) -> None:
        self._model, self._cached, self._commit, self._meter = model, cached, commit, meter
        self._stop = stop
        self._failed: list[BaseException] = []
        self._open: queue.SimpleQueue[HubFile] = queue.SimpleQueue()

    def run(self, files: Sequence[HubFile]) -> None:
        """Raises the first error of a file, Stopped, or what interrupts the wait."""
        for file in sorted(files, key=lambda file: -file.size):
            self._open.put(file)
        # Daemons: a thread that waits for a silent hub must not hold a program that wants to end.
        threads = [
            threading.Thread(target=self._work, name="thespis-hub", daemon=True)
            for _ in files[:THREADS]
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while not self._over and thread.is_alive():
                    thread.join(WATCH_SECONDS)
        except BaseException:
            self._stop.set()
            raise
        finally:
            deadline = time.monotonic() + LEAVING_SECONDS
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
        if self._failed:
            raise self._failed[0]
        if self._stop.is_set():
            raise Stopped

    @property
    def _over(self) -> bool:
        return self._stop.is_set() or bool(self._failed)

    def _work(self) -> None:
        with contextlib.suppress(queue.Empty, Stopped):
            while not self._over:
                file = self._open.get_nowait()
                try:
                    self._store(file)
                except Stopped:
                    raise
                except BaseException as error:
                    self._failed.append(error)

    def _store(self, file: HubFile) -> None:
        blob = self._cached.blobs / file.digest
        if not blob.is_file():
            blob.parent.mkdir(parents=True, exist_ok=True)
            with self._part(file.digest) as part:
                if blob.is_file():  # another process was faster
                    self._meter.add(file.size)
                else:
                    self._receive(file, part)
                    self._verify(file, part)
                    os.replace(self._cached.part_of(file.digest), blob)
        self._cached.link(self._commit, file.name, file.digest)

    @contextlib.contextmanager
    def _part(self, digest: str) -> Iterator[BinaryIO]:
        """What there is of a content, opened for more: by one process at a time."""
        with os.fdopen(
            os.open(self._cached.part_of(digest), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666),
            "r+b",
        ) as part:
            while True:
                try:
                    fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    self._pause(WATCH_SECONDS)
            part.seek(0, os.SEEK_END)
            yield part

    def _receive(self, file: HubFile, part: BinaryIO) -> None:
        """Until the part has the file's size. Tries again for as long as something new comes."""
        if part.tell() > file.size:
            _void(part)
        self._meter.add(part.tell())
        pauses = iter(PAUSES)
        while (before := part.tell()) < file.size:
            cut: Exception | None = None
            try:
                self._transfer(file, part)
            except Exception as error:
                if _is_final(error):
                    raise
                cut = error
            if part.tell() == file.size:
                break
            pauses = iter(PAUSES) if part.tell() > before else pauses
            pause = next(pauses, None)
            if pause is None:
                raise cut or broken(file, self._model)
            text = "%s was cut after %s of %s: trying again"
            log.warning(text, file.name, size(part.tell()), size(file.size))
            self._pause(pause)

    def _transfer(self, file: HubFile, part: BinaryIO) -> None:
        """One request for what the part lacks; everything that comes is kept at once."""
        from huggingface_hub import get_session, hf_hub_url, hf_raise_for_status
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        begun = part.tell()
        headers = {**build_hf_headers(library_name="thespis"), "Accept-Encoding": "identity"}
        if begun:
            headers["Range"] = f"bytes={begun}-"
        url = hf_hub_url(self._model, file.name, revision=self._commit)
        with get_session().stream(
            "GET", url, headers=headers, timeout=SILENT_SECONDS, follow_redirects=True
        ) as response:
            hf_raise_for_status(response)
            if begun and response.status_code != 206:  # it sends all of it again
                _void(part)
                self._meter.add(-begun)
            for piece in response.iter_bytes():
                self._check_stop()
                if part.tell() + len(piece) > file.size:
                    _void(part)
                    raise broken(file, self._model)
                part.write(piece)
                self._meter.add(len(piece))

    def _verify(self, file: HubFile, part: BinaryIO) -> None:
        """Raises EngineError, and forgets the part, where it is not what the hub has promised."""
        digest = hashlib.sha256()
        if len(file.digest) == 40:
            digest = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
        part.seek(0)
        while chunk := part.read(_CHUNK):
            self._check_stop()
            digest.update(chunk)
        if digest.hexdigest() != file.digest:
            _void(part)
            raise broken(file, self._model)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._check_stop()
            time.sleep(min(WATCH_SECONDS, seconds))

    def _check_stop(self) -> None:
        if self._over:
            raise Stopped


def _void(part: BinaryIO) -> None:
    part.seek(0)
    part.truncate()


def _is_final(error: Exception) -> bool:
    """Whether the same request would fail again, whatever the network does."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code < 500 and error.response.status_code not in (408, 429)
    return isinstance(error, (Stopped, EngineError, ValueError, *BUGS)) or (
        isinstance(error, OSError) and error.errno in LASTING
    )
