"""Folders and files of the store, as the operating system has them: private, whole, and locked by
whoever is at work in them. Everything here blocks."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ....protocol.cache import check_private, make_private

SAFE = os.O_CLOEXEC | os.O_NOFOLLOW
PART, GONE = ".part-", ".gone-"
"""How names of folders begin that are being filled, and that are being removed: nobody looks into
them, and what a dead process has left of them is swept."""


def make_within(base: Path, *within: str) -> Path:
    """A folder within `base`, each on the way this user's alone. Raises OSError, too."""
    folder = base
    for name in ("", *within):
        folder = folder / name
        make_private(folder)
    return folder


def find_private(base: Path, *within: str) -> Path:
    """The folder that `make_within` makes, which need not be there. Raises OSError as that
    does."""
    folder = base
    for name in ("", *within):
        folder = folder / name
        with contextlib.suppress(FileNotFoundError):
            check_private(folder)
    return folder


def lock(folder: Path, wait: bool) -> int | None:
    """Hold the folder as long as the returned descriptor is open, against other processes and other
    descriptors of this one. None: it is held, or it is not there any more. Raises OSError where
    nobody could hold it."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | SAFE)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.path.samestat(os.fstat(fd), os.lstat(folder)):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(fd)
        raise
    os.close(fd)
    return None


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Between all processes one at a time. For moments: nothing is waited for inside. Raises
    OSError."""
    fd = lock(folder, wait=True)
    if fd is None:
        raise FileNotFoundError(2, "it is not there any more")
    try:
        yield
    finally:
        os.close(fd)


def write_whole(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def put_file(path: Path, data: bytes) -> None:
    """A new file that survives a power cut. Raises OSError, after which there is none."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, 0o600)
    try:
        write_whole(fd, data)
        os.fsync(fd)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(fd)


def replace_file(path: Path, draft: Path, data: bytes) -> None:
    """The file has its old content or the new one, whenever the process or the machine ends."""
    draft.unlink(missing_ok=True)  # of a process that has died
    put_file(draft, data)
    os.rename(draft, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | SAFE)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_small(path: Path, most: int) -> bytes | None:
    """None: there is no such file, or it is longer than that."""
    try:
        fd = os.open(path, os.O_RDONLY | SAFE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        data = bytearray()
        while len(data) <= most and (piece := os.read(fd, most + 1 - len(data))):
            data += piece
        return bytes(data) if len(data) <= most else None
    finally:
        os.close(fd)


def remove(folder: Path, token: str) -> bool:
    """At once for everybody who looks; then from the disk. False: it was not there."""
    gone = folder.with_name(f"{GONE}{token}")
    try:
        os.rename(folder, gone)
    except FileNotFoundError:
        return False
    shutil.rmtree(gone, ignore_errors=True)
    return True


def sweep_halves(folder: Path) -> int:
    """Remove what processes that are gone were filling or removing; how many."""
    swept = 0
    for entry in names(folder):
        if entry.startswith((PART, GONE)) and (fd := lock(folder / entry, wait=False)) is not None:
            shutil.rmtree(folder / entry, ignore_errors=True)
            os.close(fd)
            swept += 1
    return swept


def names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
