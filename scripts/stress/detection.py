"""How soon /health is 503 after a process has been killed, and 200 again, under load. A table on
stdout.

`scripts/dev detection [--kills N] [--streams N] [--every SECONDS]`; the bundled model, one server,
a prober in a process of its own. Each process is killed in turn, so that none meets its restart
budget.
"""

import argparse
import asyncio
import http.client
import os
import signal
import socket
import statistics
import sys
import time
from collections import defaultdict
from contextlib import suppress
from itertools import cycle
from typing import NamedTuple

import aiohttp

from thespis.frontends.client.client import Client
from thespis.frontends.engine import start_engine
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.server import ServerConfig

ROLES = (
    "scheduler",
    "detokenizer",
    "fetcher",
    "preprocessor",
    "gpu-runner",
    "encoder-cache",
    "decode-worker-0",
    "zygote",
)
LOOK_SECONDS = 0.002
LIMIT_SECONDS = 60.0


class Seen(NamedTuple):
    """Seconds from the kill; None: not seen. The zygote serves nobody and never makes /health
    503."""

    unhealthy: float | None
    healthy: float


def probe(port: int) -> None:
    """A line (seconds by the monotonic clock, status) for every change of what /health says."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    last = 0
    while True:
        connection.request("GET", "/health")
        with connection.getresponse() as response:
            response.read()
        if response.status != last:
            last = response.status
            print(time.monotonic(), last, flush=True)
        time.sleep(LOOK_SECONDS)


class Prober:
    """What /health said, and since when."""

    def __init__(self) -> None:
        self.changes: list[tuple[float, int]] = []

    async def run(self, port: int) -> None:
        command = [sys.executable, "-P", __file__, "--probe", str(port)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                at, status = line.split()
                self.changes.append((float(at), int(status)))
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def first(self, status: int, since: float) -> float | None:
        return next(
            (at - since for at, said in self.changes if at >= since and said == status), None
        )

    async def settled(self, since: float) -> None:
        while not self.changes or self.changes[-1][1] != 200:
            if time.monotonic() - since > LIMIT_SECONDS:
                raise TimeoutError("/health is 200 no more")
            await asyncio.sleep(LOOK_SECONDS)


async def strike(prober: Prober, client: Client, role: str) -> Seen:
    before = await client.status()
    began = time.monotonic()
    os.kill(before.pids[role], signal.SIGKILL)
    while (status := await client.status()).restarts[role] == before.restarts[
        role
    ] or not status.ready:
        await asyncio.sleep(LOOK_SECONDS)
    await asyncio.sleep(0.2)
    await prober.settled(began)
    unhealthy = prober.first(503, began)
    return Seen(
        unhealthy,
        0.0 if unhealthy is None else unhealthy + (prober.first(200, began + unhealthy) or 0.0),
    )


async def keep_busy(http: aiohttp.ClientSession, number: int) -> None:
    """One stream after the other."""
    message = {"role": "user", "content": f"Tell me {number}."}
    body = {"messages": [message], "max_tokens": 300, "ignore_eos": True, "stream": True}
    while True:
        with suppress(aiohttp.ClientError):
            async with http.post("/v1/chat/completions", json=body) as answer:
                await answer.read()


async def measure(kills: int, streams: int, every: float) -> dict[str, list[Seen]]:
    found: dict[str, list[Seen]] = defaultdict(list)
    prober = Prober()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = ServerConfig(host="127.0.0.1", port=port, listen_fd=listener.fileno())
        engine = await asyncio.to_thread(start_engine, EngineConfig(), server)
    try:
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
            await Client.connect(engine.run_dir) as client,
        ):
            tasks = [asyncio.create_task(prober.run(port))]
            tasks += [asyncio.create_task(keep_busy(http, number)) for number in range(streams)]
            await asyncio.sleep(2.0)
            for role, _ in zip(cycle(ROLES), range(kills), strict=False):
                found[role].append(await strike(prober, client, role))
                await asyncio.sleep(every)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        engine.terminate()
    return found


def cells(numbers: list[float]) -> str:
    return f"{statistics.median(numbers):.3f} | {max(numbers):.3f}" if numbers else "- | -"


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/dev detection", description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument(
        "--every",
        type=float,
        default=1.0,
        help="seconds between the end of a recovery and the next kill",
    )
    parser.add_argument("--probe", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.probe:
        probe(given.probe)
    found = asyncio.run(measure(given.kills, given.streams, given.every))
    print("| process | kills | 503 seen | 503 after p50 s | max s | 200 after p50 s | max s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for role, every in (
        *found.items(),
        ("all", [seen for some in found.values() for seen in some]),
    ):
        told = [seen for seen in every if seen.unhealthy is not None]
        unhealthy, healthy = (
            cells([seen.unhealthy or 0.0 for seen in told]),
            cells([seen.healthy for seen in told]),
        )
        print(f"| {role} | {len(every)} | {len(told)} | {unhealthy} | {healthy} |")
    print(f"\nload of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
