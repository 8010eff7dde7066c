"""What is done to processes: signals, full file systems, no more files, a limit of memory, cores
that others want."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from ..watch import session_of

FULL_BYTES = 1 << 20
"""No file of a process may grow beyond this: less than any arena, more than its log."""
OPEN_FILES = 3
"""So few that the process has them already: every further one is refused."""
OOM_SECONDS = 5.0
"""Within which a process that works wants more memory."""
CGROUPS = Path("/sys/fs/cgroup")
SPINNERS = 20
"""Processes at normal priority that want a core each."""
SPIN = "import sys\nsys.stdin.read()\nwhile True: pass"


def hit(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Only what is a process of an engine."""
    title = Path(f"/proc/{pid}/cmdline").read_bytes()
    assert b"thespis" in title, f"{pid} is no engine process"
    os.kill(pid, number)


def janitor_of(director: int) -> int | None:
    """Its pid; None while there is none."""
    return next(
        (pid for pid, title in session_of(director).items() if title == "thespis janitor"), None
    )


@contextmanager
def limited(pid: int, kind: int, value: int) -> Iterator[None]:
    """A limit of the system's (`resource.RLIMIT_...`) on one process, for a while."""
    soft, hard = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (value, hard))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, kind, (soft, hard))


@asynccontextmanager
async def spinning(count: int) -> AsyncIterator[None]:
    """Others want the cores, all from one moment on: who spins before the last has started makes
    its start take seconds."""
    waiting, go = os.pipe()
    spinners: list[asyncio.subprocess.Process] = []
    try:
        for _ in range(count):
            spinners.append(
                await asyncio.create_subprocess_exec(
                    sys.executable, "-S", "-c", SPIN, stdin=waiting
                )
            )
        os.close(go)
        go = -1
        yield
    finally:
        for end in (waiting, go):
            if end >= 0:
                os.close(end)
        for spinner in spinners:
            spinner.kill()
        for spinner in spinners:
            await spinner.wait()


async def run_out_of_memory(pid: int) -> bool:
    """Put the process into a control group in which the kernel kills who wants more memory than
    none. False: this machine has no such groups, or lets us make none; it was killed by hand, which
    an engine cannot tell apart."""
    group = _memory_group(f"thespis-chaos-{os.getpid()}-{pid}")
    try:
        if group is not None:
            (group / "cgroup.procs").write_text(str(pid))
            deadline = asyncio.get_running_loop().time() + OOM_SECONDS
            while _is_in(group, pid) and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.01)
            if not _is_in(group, pid):
                return True
        with suppress(ProcessLookupError):
            hit(pid)
        return False
    finally:
        if group is not None:
            await _remove(group)


def _memory_group(name: str) -> Path | None:
    """An empty group with a limit of a page, by either version of control groups; None where there
    can be none."""
    for root, limit in ((CGROUPS / "memory", "memory.limit_in_bytes"), (CGROUPS, "memory.max")):
        group = root / name
        try:
            group.mkdir()
        except OSError:
            continue
        with suppress(OSError):
            (group / limit).write_text("4096")
            return group
        group.rmdir()
    return None


def _is_in(group: Path, pid: int) -> bool:
    return str(pid) in (group / "cgroup.procs").read_text().split()


async def _remove(group: Path) -> None:
    for _ in range(200):  # until whoever was killed there has been reaped
        with suppress(OSError):
            group.rmdir()
            return
        await asyncio.sleep(0.02)
