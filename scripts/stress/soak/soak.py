"""One soak: an engine with small caches, so that they are full soon, steady load on it, and a look
at it at even distances."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from thespis import AsyncLLM
from thespis.protocol.edges.control import Status

from ..faces import AsyncFace, HttpFace
from ..holding import held
from ..media_server import media_server
from ..serve import ENGINE, KEYS, served
from .load import SteadyLoad
from .report import Report, Series
from .samples import processes, sample

SMALL: dict[str, Any] = ENGINE | {
    "mm_processor_cache_gb": 0.02,
    "encoder_cache_gb": 0.01,
    "kv_cache_gb": 0.03125,
}
WARM_SHARE = 1 / 3
"""Of the time, before growth counts."""
EVERY = 5.0
"""Seconds between two looks, at most."""
LOOKS = 20
"""At least."""
TOLD_EVERY = 300.0
END_SECONDS = 15.0
TABLES = ("cache", "entries", "tombstones", "kept", "bytes", "cached", "bindings")
"""Words in the names of counters that tell how full a cache or a table is."""


class Options(NamedTuple):
    model: Path
    seed: int
    rate: float
    seconds: float


async def soak(options: Options, folder: Path, report: Report, say: Callable[[str], None]) -> None:
    """Fills `report` as it goes."""
    async with (
        media_server(options.seed) as media,
        served(options.model, folder / "engine.log", SMALL) as server,
    ):
        say(f"seed {options.seed}; served at {server.url}, run directory {server.run_dir}")
        async with (
            AsyncLLM(run_dir=server.run_dir) as llm,
            aiohttp.ClientSession(server.url, connector=aiohttp.TCPConnector(limit=0)) as http,
        ):
            web = HttpFace(http, media, KEYS)
            load = SteadyLoad(
                [web, web, AsyncFace(llm, media)], http, KEYS[0], media, options.seed, say
            )
            report.counts = load.counts
            before = await llm.status()
            watch = asyncio.create_task(_watch(options, before.pids["director"], load, report, say))
            try:
                await load.run(options.rate, options.seconds)
            finally:
                watch.cancel()
            await _take_stock(llm, report, before)


async def _watch(
    options: Options, director: int, load: SteadyLoad, report: Report, say: Callable[[str], None]
) -> None:
    began = told = time.monotonic()
    report.warm = options.seconds * WARM_SHARE
    while True:
        for pid, name in processes(director).items():
            seen = sample(pid)
            if seen is None:
                continue
            series = report.series.setdefault(f"{name} {pid}", Series())
            series.times.append(time.monotonic() - began)
            series.requests.append(load.done)
            series.samples.append(seen)
        report.minutes = (time.monotonic() - began) / 60
        if time.monotonic() - told >= TOLD_EVERY:
            told = time.monotonic()
            say(f"{load.done} requests, failed {load.counts['failed']}; {_sizes(report)}")
        await asyncio.sleep(min(EVERY, options.seconds / LOOKS))


def _sizes(report: Report) -> str:
    """MiB of each process just now."""
    last = max((series.times[-1] for series in report.series.values()), default=0.0)
    return ", ".join(
        f"{process.rpartition(' ')[0]} {series.samples[-1].memory:.1f}"
        for process, series in sorted(report.series.items())
        if series.times[-1] > last - EVERY
    )


async def _take_stock(llm: AsyncLLM, report: Report, before: Status) -> None:
    """When every request is over: nothing may be held of any."""
    deadline = time.monotonic() + END_SECONDS
    while True:
        status = await llm.status()
        report.held = held(status.stats)
        if not report.held or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.1)
    report.restarts = dict(Counter(status.restarts) - Counter(before.restarts))
    report.tables = {
        f"{role} {name}": value
        for role, counters in sorted(status.stats.items())
        for name, value in counters.items()
        if any(word in name for word in TABLES)
    }
