"""The hand that strikes: carries out one fault, and watches the engine until it is whole again."""

import asyncio
import resource
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

import aiohttp

from thespis.frontends.client.client import Client
from thespis.protocol.edges.control import Status

from ..watch import Seen, probe
from .blows import (
    FULL_BYTES,
    OPEN_FILES,
    SPINNERS,
    hit,
    janitor_of,
    limited,
    run_out_of_memory,
    spinning,
)
from .faults import Fault
from .load import HTTP_DIED, NO_FILES, NO_SPACE, Excuse, Load

RECOVERY_LIMIT = 90.0
"""Seconds; an engine that is not whole by then has failed the run."""
FULL_SECONDS = 1.5
"""Of a shortage of space or files."""
STILL = 0.02


class Strike(NamedTuple):
    """One fault and what came of it."""

    fault: Fault
    between: int
    """Streams between first and last token at the (last) kill."""
    recovery: float | None
    """Seconds from the last kill to readiness; None: it did not come back."""
    known: float
    """Seconds for which it was known to the engine's clients that somebody was missing."""
    seen: Seen | None
    """None without an HTTP face, or when that was what was killed."""


class Hand:
    """Strikes one engine. `between` counts the streams that are in their middle."""

    def __init__(
        self,
        client: Client,
        load: Load,
        http: aiohttp.ClientSession | None,
        between: Callable[[], int],
    ) -> None:
        self._client, self._load, self._http, self._between = client, load, http, between
        self.by_hand = 0
        """Memory faults that the kernel could not be made to strike."""

    async def strike(self, fault: Fault) -> Strike:
        before = await self._client.status()
        over = asyncio.Event()
        knowing = asyncio.create_task(self._known(over))
        probed = self._http is not None and "http" not in fault.roles
        start = time.monotonic()
        probing = (
            asyncio.create_task(probe(self._http, start, over))
            if self._http is not None and probed
            else None
        )
        self._load.recovering = True
        self._excuse(fault, start)
        between, struck = await self._carry_out(fault, before)
        wanted = {role: before.restarts[role] + fault.roles.count(role) for role in fault.roles}
        whole = await self._whole_again(wanted, before.pids["director"])
        back = time.monotonic()
        over.set()
        self._load.recovering = False
        self._close_excuses()
        seen = await probing if probing is not None else None
        return Strike(fault, between, back - struck if whole else None, await knowing, seen)

    async def _carry_out(self, fault: Fault, before: Status) -> tuple[int, float]:
        """How many streams the last blow met, and when it fell, or a harmless fault was over."""
        between, struck = self._between(), time.monotonic()
        match fault.kind:
            case "stop":
                hit(before.pids[fault.roles[0]], signal.SIGSTOP)
            case "memory":
                self.by_hand += not await run_out_of_memory(before.pids[fault.roles[0]])
                struck = time.monotonic()
            case "signal":
                for role in fault.at:
                    hit(before.pids[role], signal.Signals[fault.signal])
            case "starve":
                async with spinning(SPINNERS):
                    await asyncio.sleep(fault.delay)
                struck = time.monotonic()
            case "files":
                with limited(before.pids[fault.at[0]], resource.RLIMIT_NOFILE, OPEN_FILES):
                    await asyncio.sleep(FULL_SECONDS)
                struck = time.monotonic()
            case _:
                between, struck = await self._kill(fault, before)
        return between, struck

    async def _kill(self, fault: Fault, before: Status) -> tuple[int, float]:
        """One or two processes, and what the successor may meet."""
        first, *rest = fault.roles
        if fault.kind == "janitor":
            await self._kill_janitor(before.pids["director"], fault.delay)
        between, struck = self._between(), time.monotonic()
        hit(before.pids[first])
        if fault.kind == "pair":
            hit(before.pids[rest[0]])
        if fault.kind == "chain":
            await asyncio.sleep(fault.delay)
            pid = before.pids[rest[0]] if rest[0] != first else await self._successor(first, before)
            between, struck = self._between(), time.monotonic()
            hit(pid)
        if fault.kind == "full":
            with limited(await self._successor(first, before), resource.RLIMIT_FSIZE, FULL_BYTES):
                await asyncio.sleep(FULL_SECONDS)
            struck = time.monotonic()
        return between, struck

    async def _kill_janitor(self, director: int, seconds: float) -> None:
        pid = janitor_of(director)
        assert pid is not None, "there is no janitor"
        hit(pid)
        await asyncio.sleep(seconds)

    async def _successor(self, role: str, before: Status) -> int:
        """The pid of the one that comes after."""
        while True:
            pid = (await self._client.status()).pids.get(role)
            if pid is not None and pid != before.pids[role]:
                return pid
            await asyncio.sleep(STILL)

    async def _whole_again(self, restarts: dict[str, int], director: int) -> bool:
        """Wait until all are ready, each has been restarted so often, and there is a janitor."""
        deadline = time.monotonic() + RECOVERY_LIMIT
        while time.monotonic() < deadline:
            await asyncio.sleep(STILL)
            if not self._client.ready:
                continue
            status = await self._client.status()
            if (
                status.ready
                and all(status.restarts[role] >= count for role, count in restarts.items())
                and janitor_of(director)
            ):
                return True
        return False

    async def _known(self, over: asyncio.Event) -> float:
        """For how long at once this client, which hears what the HTTP frontend's hears, was not
        ready."""
        longest, since = 0.0, time.monotonic()
        while not over.is_set():
            now = time.monotonic()
            since = now if self._client.ready else since
            longest = max(longest, now - since)
            await asyncio.sleep(STILL)
        return longest

    def _excuse(self, fault: Fault, now: float) -> None:
        if "http" in fault.roles:
            self._load.excuses.append(Excuse(HTTP_DIED, now, float("inf")))
        if fault.kind == "full":
            self._load.excuses.append(Excuse(NO_SPACE, now, float("inf")))
        if fault.kind == "files":
            self._load.excuses.append(Excuse(NO_FILES, now, float("inf")))

    def _close_excuses(self) -> None:
        """Requests that met the fault may tell of it a little later."""
        end = time.monotonic() + 0.5
        self._load.excuses[:] = [
            excuse._replace(end=min(excuse.end, end)) for excuse in self._load.excuses
        ]
