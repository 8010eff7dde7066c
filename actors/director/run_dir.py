"""The run directory: private, locked while its director lives, swept when it does not."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from ...protocol.channel import socket_path
from ...protocol.errors import EngineError
from ...protocol.memory.blobs import unlink_segments

_PREFIX = "thespis-"
_LOCK = "lock"
_FILES = 64
"""Two sockets for each process, what some write while they load, and the lock."""
_MEND = "free some room there, or set TMPDIR to a folder that can be written to"
_LONGEST_ROLE = "client-4194304-0123456789"


def base_folder() -> Path:
    """The temporary folder, or /tmp where its path leaves no room for a socket's name."""
    base = Path(tempfile.gettempdir())
    try:
        socket_path(base / f"{_PREFIX}01234567", _LONGEST_ROLE, 0)
    except ValueError:
        return Path("/tmp")
    return base


def make_run_dir() -> Path:
    """A new directory, mode 0700, of a unique name. Raises EngineError where there is no room."""
    try:
        run_dir = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base_folder()))
    except OSError as error:
        raise EngineError(f"No run directory can be made ({error.strerror}): {_MEND}.") from None
    room = os.statvfs(run_dir)
    if room.f_files and room.f_favail < _FILES:  # some file systems do not count them
        run_dir.rmdir()
        raise EngineError(
            f"{str(run_dir.parent)!r} has room for {room.f_favail} more files, and a run "
            f"directory needs {_FILES}: {_MEND}."
        )
    return run_dir


def take_lock(run_dir: Path) -> int:
    """Hold the run's lock as long as the returned descriptor is open; the file names this process,
    for clients that watch it.

    Raises BlockingIOError where another director has it.
    """
    new = run_dir / f"{_LOCK}.{os.getpid()}"
    fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if is_running(run_dir):
        os.unlink(new)
        os.close(fd)
        raise BlockingIOError("another director runs in this directory")
    os.write(fd, str(os.getpid()).encode())  # clients watch this process
    os.rename(new, run_dir / _LOCK)  # it appears locked: no sweeper ever sees it free
    return fd


def is_running(run_dir: Path) -> bool:
    """Whether a director holds the run's lock."""
    try:
        fd = os.open(run_dir / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def remove_run(run_dir: Path) -> None:
    """Everything a run leaves: shared memory, sockets, the directory. Idempotent."""
    unlink_segments(run_dir)
    shutil.rmtree(run_dir, ignore_errors=True)


def sweep_stale_runs(base: Path | None = None) -> list[Path]:
    """Remove this user's runs in `base` whose director is dead; returns them. A directory without a
    lock is left: its director is about to start."""
    swept: list[Path] = []
    for run_dir in (base or base_folder()).glob(f"{_PREFIX}*"):
        try:
            ours = run_dir.stat().st_uid == os.getuid() and not run_dir.is_symlink()
        except OSError:
            continue
        if ours and (run_dir / _LOCK).is_file() and not is_running(run_dir):
            remove_run(run_dir)
            swept.append(run_dir)
    return swept
