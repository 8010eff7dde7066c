"""What an engine of these tests can leave behind: processes, run directories, shared memory. For
conftest and leak tests.

Engines of one test run are told from all others on the machine by the temporary folder that
conftest gives the run.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from thespis.actors.director.run_dir import is_running

SHARED_MEMORY = Path("/dev/shm")
SEGMENT = f"{SHARED_MEMORY}/thespis-"
SETTLE_SECONDS = 30.0
"""What a killed engine gets to clean up: its janitor waits for the others first."""


class Left(NamedTuple):
    """Everything found; empty when there is nothing to complain about."""

    processes: list[str]
    run_dirs: list[str]
    segments: list[str]

    def __bool__(self) -> bool:
        return any(self)


def engine_processes() -> dict[int, str]:
    """Living engine processes of this test run: their titles by pid."""
    sockets = _socket_owners()
    mine = {child.pid for child in psutil.Process().children(recursive=True)}
    found: dict[int, str] = {}
    for process in psutil.process_iter():
        try:
            title = " ".join(process.cmdline())
            living = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if (
            living
            and _is_engine(title)
            and (process.pid in mine or process.pid in sockets or _logs_here(process.pid))
        ):
            found[process.pid] = title.strip()
    return found


def run_dirs() -> list[Path]:
    return sorted(path for path in Path(tempfile.gettempdir()).glob("thespis-*") if path.is_dir())


def unmapped_segments(since: float) -> list[Path]:
    """Segments younger than `since` (unix seconds) that no living process has mapped: nobody will
    ever unlink them."""
    others = _other_runs()
    young = [
        path
        for path in SHARED_MEMORY.glob("thespis-*")
        if _age(path) >= since and not any(run in path.name for run in others)
    ]
    mapped = _mapped() if young else set()
    return [path for path in young if str(path) not in mapped and path.exists()]


def left_behind(since: float, idle: bool) -> Left:
    """`idle`: no engine is meant to run; else those with a living director are left in peace."""
    processes = engine_processes()
    if not idle and any("director" in title for title in processes.values()):
        processes = {}
    dirs = [path for path in run_dirs() if idle or not is_running(path)]
    return Left(
        [f"{pid} {title}" for pid, title in processes.items()],
        [str(path) for path in dirs],
        [path.name for path in unmapped_segments(since)],
    )


def settle(look: Callable[[], Left], seconds: float = SETTLE_SECONDS) -> Left:
    """What is still there after the time that an engine's end may take."""
    deadline = time.monotonic() + seconds
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _is_engine(title: str) -> bool:
    return title.startswith("thespis ") or " -m thespis" in title


def _logs_here(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/fd/2").startswith(f"{tempfile.gettempdir()}/")
    except OSError:
        return False


def _socket_owners() -> set[int]:
    """Processes that have bound a Unix socket below this run's temporary folder."""
    here = f"{tempfile.gettempdir()}/"
    return {
        c.pid for c in psutil.net_connections("unix") if c.pid and str(c.laddr).startswith(here)
    }


def _other_runs() -> list[str]:
    """Names of the run directories of test runs beside this one."""
    mine = Path(tempfile.gettempdir())
    return [run.name for run in mine.parent.glob("tt-*/thespis-*") if run.parent != mine]


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _mapped() -> set[str]:
    """The paths of all segments that a living process has mapped."""
    found: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            text = maps.read_text()
        except OSError:
            continue
        if SEGMENT in text:
            found.update(
                line[line.index(SEGMENT) :] for line in text.splitlines() if SEGMENT in line
            )
    return found
