"""What the kernel says of a process's memory and CPU time; asked only while somebody watches."""

import os

import msgspec

from ...protocol.edges.view import Incarnation

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_RESIDENT, _SHARED = 1, 2
"""Where they stand in `statm`, in pages."""
_USER_TICKS, _KERNEL_TICKS = 11, 12
"""Where they stand behind the name in `stat`, counted from the state."""


def measured(one: Incarnation, pid: int | None) -> Incarnation:
    """With what its process uses; as it is where there is none."""
    if pid is None:
        return one
    try:
        memory, times = _read(f"/proc/{pid}/statm"), _read(f"/proc/{pid}/stat")
    except OSError:  # it has ended, or the machine has no file left to look with
        return msgspec.structs.replace(one, pid=pid)
    pages, ticks = memory.split(), times.rpartition(b")")[2].split()
    shared = int(pages[_SHARED])
    return msgspec.structs.replace(
        one,
        pid=pid,
        own_bytes=(int(pages[_RESIDENT]) - shared) * _PAGE,
        shared_bytes=shared * _PAGE,
        cpu_seconds=(int(ticks[_USER_TICKS]) + int(ticks[_KERNEL_TICKS])) * _TICK_SECONDS,
    )


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()
