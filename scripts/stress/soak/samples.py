"""What each process of an engine holds of the system at one moment, read from /proc."""

import os
from pathlib import Path
from typing import NamedTuple

from ..watch import SHARED_MEMORY, session_of

MIB = 1024.0
"""KiB, as /proc counts."""


class Sample(NamedTuple):
    """One process; memory in MiB."""

    memory: float
    """Resident and its own (anonymous): where a leak of the heap shows."""
    shared: float
    """Resident of shared memory: arenas, its own and mapped ones."""
    rss: float
    pss: float
    """Resident, with what is shared divided among those who share it."""
    files: int
    """Open descriptors."""
    threads: int
    segments: int
    """Files of shared memory that it has mapped."""


def sample(pid: int) -> Sample | None:
    """None where it has ended."""
    folder = Path(f"/proc/{pid}")
    try:
        status = _fields(folder / "status")
        rollup = _fields(folder / "smaps_rollup")
        files = len(os.listdir(folder / "fd"))
        maps = (folder / "maps").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if "VmRSS" not in status:
        return None  # it is just ending
    segments = {line.split(maxsplit=5)[5] for line in maps if f"{SHARED_MEMORY}/" in line}
    return Sample(
        memory=status["RssAnon"] / MIB,
        shared=status["RssShmem"] / MIB,
        rss=status["VmRSS"] / MIB,
        pss=rollup["Pss"] / MIB,
        files=files,
        threads=status["Threads"],
        segments=len(segments),
    )


def processes(director: int) -> dict[int, str]:
    """Name by pid of every process of the engine, the janitor and the zygotes among them."""
    return {
        pid: title.removeprefix("thespis ") or "?" for pid, title in session_of(director).items()
    }


def _fields(path: Path) -> dict[str, int]:
    """The lines `Name:  123 ...` of a file of /proc."""
    found: dict[str, int] = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isdigit():
            found[name] = int(number[0])
    return found
