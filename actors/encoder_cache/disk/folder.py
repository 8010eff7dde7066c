"""The folder: files that appear whole or not at all, and never more bytes than it may hold, whoever
of several engines writes into it and whichever of them is killed.

    FOLDER/thespis-encoder-cache/lock                       whose holder writes; and what all takes
    FOLDER/thespis-encoder-cache/<fingerprint>-<name>       one embedding, or caller's id
    FOLDER/thespis-encoder-cache/<fingerprint>-<name>.part  what its writer has not finished
    FOLDER/thespis-encoder-cache/pins/                      what does not make room: `pins`

Everything that changes what it holds happens under the lock, which the kernel gives back when its
holder dies: whoever has it knows that a `.part` is nobody's. What all files take stands in the
lock's own file and is raised before a file is made, so that a death leaves it too high and never
too low; too high, it is counted anew. Readers take no lock.
"""

import contextlib
import errno
import fcntl
import os
import re
import stat
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ....protocol.cache import make_private
from ....protocol.memory.blobs import Bytes
from .pin_file import Mark
from .pins import Pins

ROOM = "thespis-encoder-cache"
BLOCK = 4096
"""What a file takes is rounded up to it."""
LOCK_SECONDS = 5.0
"""For which a writer waits for another one."""
_LOOK_AGAIN = 0.005
_NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{64}")
_PART = re.compile(_NAME.pattern + r"\.part")
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_TAKEN = struct.Struct("<QQ")
"""Bytes, and the same with every bit turned over."""
_ALL = (1 << 64) - 1


class BusyError(OSError):
    """Another engine has held the lock for too long."""


class _Found(NamedTuple):
    used: int
    """When, in nanoseconds."""
    name: str
    room: int


class Folder:
    """Used by threads; one of them alone writes."""

    def __init__(self, folder: str | Path, max_bytes: int) -> None:
        self._root = Path(folder).expanduser() / ROOM
        self._max_bytes = max_bytes
        self._pins = Pins(self._root / "pins", max_bytes // 2, BLOCK)
        self._lock = -1
        self.taken = 0
        """Bytes in it, as last seen."""

    def open(self) -> None:
        """Raises OSError where it cannot be used."""
        make_private(self._root)
        self._lock = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | _SAFE, 0o600)
        with contextlib.suppress(BusyError), self._locked(0.5):
            self._make_room(0)

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def find(self, name: str) -> tuple[int, int] | None:
        """A file's descriptor, the caller's, and its size; None where there is none. Raises
        OSError."""
        try:
            descriptor = os.open(self._root / name, os.O_RDONLY | _SAFE)
        except FileNotFoundError:
            return None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise OSError(errno.ELOOP, "it is no file")
        return descriptor, status.st_size

    def used(self, descriptor: int) -> None:
        """It goes last."""
        with contextlib.suppress(OSError):
            os.utime(descriptor)

    def remove(self, name: str) -> None:
        """Idempotent. Its room is not free before it is counted anew."""
        with contextlib.suppress(OSError):
            os.unlink(self._root / name)

    def write(self, name: str, pieces: Sequence[Bytes]) -> bool:
        """False: it is there already, or larger than the folder. Raises OSError; then nothing is
        left of it."""
        room = _room(sum(memoryview(piece).nbytes for piece in pieces))
        if room > self._max_bytes:
            return False
        with self._locked(LOCK_SECONDS):
            if (self._root / name).exists():
                return False
            self._make_room(room)
            self._note(self.taken + room)
            try:
                self._write(name, pieces)
            except OSError:
                self._note(self.taken - room)
                raise
        return True

    def pin(self, name: str, tenant: str, files: Sequence[str], expires: float | None) -> str:
        """These stay, whoever wants room: `pinned`. Else nothing has changed: one is not here
        (`missing`), or it would be more than the tenant, or all, may pin (`own`, `all`). Raises
        OSError."""
        with self._locked(LOCK_SECONDS):
            rooms: dict[str, int] = {}
            for file in files:
                try:
                    status = os.stat(self._root / file, follow_symlinks=False)
                except FileNotFoundError:
                    return "missing"
                rooms[file] = _room(status.st_size)
            mark = Mark(name, tenant, rooms, expires)
            if (bound := self._pins.bound(mark)) is not None:
                return bound
            self._make_room(BLOCK, frozenset(files))
            self._note(self.taken + BLOCK)
            self._pins.write(mark)
        return "pinned"

    def unpin(self, owner: str) -> None:
        """Under whatever fingerprint. Raises OSError."""
        with self._locked(LOCK_SECONDS):
            self._pins.remove(owner)

    def remove_all(self, prefix: str) -> None:
        """Everything whose name begins so; what is pinned, too, which stays when it is made again.
        Raises OSError."""
        with self._locked(LOCK_SECONDS):
            for found in self._scan():
                if found.name.startswith(prefix):
                    self.remove(found.name)
            self._note(sum(found.room for found in self._scan()) + self._pins.room)

    def _make_room(self, wanted: int, spared: frozenset[str] = frozenset()) -> None:
        """Under the lock: what was used longest ago goes, and something more, so that not every
        file needs a look at all. What is pinned or `spared` stays. Raises OSError where that leaves
        no room."""
        taken = self._noted()
        if wanted and taken is not None and taken + wanted <= self._max_bytes:
            self.taken = taken
            return
        files = sorted(self._scan())
        total = sum(found.room for found in files) + self._pins.room
        if total + wanted > self._max_bytes:
            spared |= self._pins.files()
            most = self._max_bytes - self._max_bytes // 8
            for found in files:
                if total + wanted <= most:
                    break
                if found.name not in spared:
                    self.remove(found.name)
                    total -= found.room
        self._note(total)
        if wanted and total + wanted > self._max_bytes:
            raise OSError(errno.ENOSPC, "what is pinned leaves no room")

    def _scan(self) -> list[_Found]:
        """Under the lock: all files, without what somebody has not finished, which goes."""
        files: list[_Found] = []
        with os.scandir(self._root) as entries:
            for entry in entries:
                if _PART.fullmatch(entry.name):
                    self.remove(entry.name)
                elif _NAME.fullmatch(entry.name):
                    with contextlib.suppress(FileNotFoundError):  # a reader found it damaged
                        status = entry.stat(follow_symlinks=False)
                        files.append(_Found(status.st_mtime_ns, entry.name, _room(status.st_size)))
        return files

    def _write(self, name: str, pieces: Sequence[Bytes]) -> None:
        part = self._root / f"{name}.part"
        self.remove(part.name)
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600)
            with open(descriptor, "wb", buffering=0) as file:
                for piece in pieces:
                    rest = memoryview(piece)
                    while rest.nbytes:
                        rest = rest[file.write(rest) :]
            part.rename(self._root / name)
        except OSError:
            self.remove(part.name)
            raise

    def _noted(self) -> int | None:
        """Bytes, as noted; None: nobody has, or somebody else has written there."""
        data = os.pread(self._lock, _TAKEN.size + 1, 0)
        if len(data) != _TAKEN.size:
            return None
        taken, turned = _TAKEN.unpack(data)
        return taken if taken ^ turned == _ALL else None

    def _note(self, taken: int) -> None:
        self.taken = taken
        os.ftruncate(self._lock, _TAKEN.size)
        os.pwrite(self._lock, _TAKEN.pack(taken, taken ^ _ALL), 0)

    @contextlib.contextmanager
    def _locked(self, seconds: float) -> Iterator[None]:
        """Raises BusyError, and OSError where there are no locks."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise BusyError(11, "another engine is writing to it") from None
                time.sleep(_LOOK_AGAIN)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)


def _room(nbytes: int) -> int:
    return max(BLOCK, -(-nbytes // BLOCK) * BLOCK)
