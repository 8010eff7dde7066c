"""What can be seen of an engine from outside: its processes, their memory, what they leave behind,
what /health says."""

import asyncio
import os
import time
from pathlib import Path
from typing import NamedTuple

import aiohttp
import numpy as np

SHARED_MEMORY = Path("/dev/shm")


def session_of(director: int) -> dict[int, str]:
    """Living processes of the director's session, by pid: their titles. The director and its
    janitor are among them."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == director and state not in "ZX":
                title = (
                    (entry / "cmdline")
                    .read_bytes()
                    .replace(b"\0", b" ")
                    .decode(errors="replace")
                    .strip()
                )
                found[int(entry.name)] = title
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def segments_of(run_dir: Path) -> list[str]:
    return sorted(name for name in os.listdir(SHARED_MEMORY) if run_dir.name in name)


def memory_of(pid: int) -> float | None:
    """MiB that the process has resident."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


class Memory:
    """Samples of resident memory per process, and how they grow."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, int], list[tuple[float, float]]] = {}

    def sample(self, pids: dict[str, int]) -> None:
        now = time.monotonic()
        for role, pid in pids.items():
            size = memory_of(pid)
            if size is not None:
                self._samples.setdefault((role, pid), []).append((now, size))

    def slopes(self, least: float) -> dict[str, tuple[float, float]]:
        """By role: MiB per minute and the last size in MiB, of processes that were watched for
        `least` seconds."""
        found: dict[str, tuple[float, float]] = {}
        for (role, _), samples in self._samples.items():
            times, sizes = np.array(samples).T
            if times[-1] - times[0] >= least:
                found[role] = (
                    float(np.polyfit((times - times[0]) / 60, sizes, 1)[0]),
                    float(sizes[-1]),
                )
        return found


class Seen(NamedTuple):
    """What the two probes said after a fault."""

    unhealthy_after: float | None
    """Seconds until /health was 503; None: it never was."""
    gap: float
    """The longest time without an answer of /health, up to 503: what is over sooner cannot be
    seen."""
    live: bool
    """/live was 200 all the time."""


async def probe(http: aiohttp.ClientSession, since: float, until: asyncio.Event) -> Seen:
    """Ask /health and /live from a fault (`since`, monotonic seconds) until `until` is set."""
    after, live, gap, answered = None, True, 0.0, since
    while not until.is_set():
        try:
            async with http.get("/live") as alive:
                live = live and alive.status == 200
            if after is None:
                async with http.get("/health") as health:
                    now = time.monotonic()
                    gap, answered = max(gap, now - answered), now
                    if health.status == 503:
                        after = now - since
        except (aiohttp.ClientError, ConnectionError):
            live = False
        await asyncio.sleep(0.01 if after is None else 0.1)
    return Seen(after, gap if after is not None else max(gap, time.monotonic() - answered), live)
