"""Who had a processor while a stream waited, and who waited for one: the kernel's account of each
process on its way, and of those that put cases."""

import asyncio
import os
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .calm import Gap
from .processes import named

EVERY_SECONDS = 0.02
ROLES = (
    "http",
    "preprocessor",
    "decode-worker",
    "encoder-cache",
    "encode-worker",
    "scheduler",
    "gpu-runner",
    "detokenizer",
    "fetcher",
)
ON_THE_WAY = tuple(f"thespis {role}" for role in ROLES)
"""That a token of a calm stream passes, or the first one may wait for, and the readers of bodies;
each by its main thread. After them, the caller."""
SHOOTERS = "shooters"

Whose = tuple[str, int]
"""A process: its title, for people, and its pid."""
HOST: Whose = ("the host", 0)
"""Of a virtual machine: what it gave to others of the processors' time. It counts as time that
somebody here ran."""


class Account(NamedTuple):
    """Seconds since the process began: with a processor, and ready to run without one."""

    ran: float
    queued: float


@dataclass
class Shares:
    """Sampled while it is entered. A gap's share of the machine's fault is what no process on the
    way could have avoided."""

    director: int
    shooters: Sequence[int] = ()
    """Pids of those that put cases."""
    _times: list[float] = field(default_factory=list)
    _accounts: list[dict[Whose, Account]] = field(default_factory=list)

    async def __aenter__(self) -> "Shares":
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        watched, looked = list[Whose](), 0.0
        while True:
            now = time.monotonic()
            if now - looked > 1.0:
                watched, looked = self._to_watch(), now
            self._times.append(time.monotonic())
            accounts = {
                who: account for who in watched if (account := account_of(who[1])) is not None
            }
            self._accounts.append(accounts | {HOST: Account(stolen(), 0.0)})
            await asyncio.sleep(EVERY_SECONDS)

    def _to_watch(self) -> list[Whose]:
        on_the_way = [
            (title, pid)
            for pid, title in named(self.director).items()
            if title.startswith(ON_THE_WAY)
        ]
        return [*on_the_way, ("caller", os.getpid()), *((SHOOTERS, pid) for pid in self.shooters)]

    def during(self, gap: Gap) -> dict[str, Account]:
        """Of all processes of a title, rounded outwards to the samples around the gap; who had no
        part in it is left out."""
        if not self._times:
            return {}
        first = self._accounts[max(0, bisect_right(self._times, gap.start) - 1)]
        last = self._accounts[min(len(self._times) - 1, bisect_left(self._times, gap.end))]
        found: dict[str, Account] = {}
        for who in first.keys() & last.keys():
            name = who[0].removeprefix("thespis ")
            before, after, ran = first[who], last[who], found.get(name, Account(0.0, 0.0))
            found[name] = Account(
                ran.ran + after.ran - before.ran, ran.queued + after.queued - before.queued
            )
        return {title: account for title, account in found.items() if max(account) >= 0.001}


def account_of(pid: int) -> Account | None:
    """None where the process has gone, or the kernel keeps no account."""
    try:
        ran, queued = Path(f"/proc/{pid}/schedstat").read_text().split()[:2]
    except (OSError, ValueError):
        return None
    return Account(int(ran) / 1e9, int(queued) / 1e9)


def stolen() -> float:
    """Seconds of all processors that the host of this machine has given to others, in hundredths; 0
    where it does not tell."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK") if len(fields) > 8 else 0.0


def told(shares: dict[str, Account]) -> str:
    """In words."""
    each = sorted(shares.items(), key=lambda item: -max(item[1]))
    return (
        ", ".join(
            f"{name} ran {a.ran * 1000:.0f} and queued {a.queued * 1000:.0f} ms" for name, a in each
        )
        or "no account"
    )
