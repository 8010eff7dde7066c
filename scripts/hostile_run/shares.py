"""Who had a processor while a stream waited, and who waited for one: the kernel's account of each process on its way."""

import asyncio
import os
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .calm import Gap
from .processes import named

EVERY_SECONDS = 0.02
ROLES = ("http", "preprocessor", "decode-worker", "encoder-cache", "scheduler", "gpu-runner", "detokenizer")
ON_THE_WAY = tuple(f"thespis {role}" for role in ROLES)
"""That a token of a calm stream passes, or the first one may wait for; each by its main thread. After them, the caller."""


class Account(NamedTuple):
    """Seconds since the process began: with a processor, and ready to run without one."""

    ran: float
    queued: float


@dataclass
class Shares:
    """Sampled while it is entered. A gap's share of the machine's fault is what no process on the way could have avoided."""

    director: int
    _times: list[float] = field(default_factory=list)
    _accounts: list[dict[str, Account]] = field(default_factory=list)

    async def __aenter__(self) -> "Shares":
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        pids, looked = dict[str, int](), 0.0
        while True:
            now = time.monotonic()
            if now - looked > 1.0:
                titles = named(self.director)
                pids = {title: pid for pid, title in titles.items() if title.startswith(ON_THE_WAY)} | {"caller": os.getpid()}
                looked = now
            self._times.append(time.monotonic())
            self._accounts.append({title: account for title, pid in pids.items() if (account := account_of(pid)) is not None})
            await asyncio.sleep(EVERY_SECONDS)

    def during(self, gap: Gap) -> dict[str, Account]:
        """Of each process, rounded outwards to the samples around the gap; those that had no part in it are left out."""
        if not self._times:
            return {}
        first = self._accounts[max(0, bisect_right(self._times, gap.start) - 1)]
        last = self._accounts[min(len(self._times) - 1, bisect_left(self._times, gap.end))]
        found = {
            title.removeprefix("thespis "): Account(account.ran - first[title].ran, account.queued - first[title].queued)
            for title, account in last.items()
            if title in first
        }
        return {title: account for title, account in found.items() if max(account) >= 0.001}


def account_of(pid: int) -> Account | None:
    """None where the process has gone, or the kernel keeps no account."""
    try:
        ran, queued = Path(f"/proc/{pid}/schedstat").read_text().split()[:2]
    except (OSError, ValueError):
        return None
    return Account(int(ran) / 1e9, int(queued) / 1e9)


def told(shares: dict[str, Account]) -> str:
    """In words."""
    each = sorted(shares.items(), key=lambda item: -max(item[1]))
    return ", ".join(f"{name} ran {a.ran * 1000:.0f} and queued {a.queued * 1000:.0f} ms" for name, a in each) or "no account"
