"""An engine on a machine that is overloaded: is anybody replaced who only had no CPU? A table on
stdout.

`scripts/dev starve [--spinners N] [--seconds S] [--streams N] [--log FILE]`: spinning processes at
normal priority, first beside an idle engine, then beside one that streams. The exit code is 1 if a
role was replaced or a stream cut.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp

from thespis.frontends.client.client import Client
from thespis.protocol.checkpoint.folder import demo_model
from thespis.scripts.stress.chaos.blows import spinning
from thespis.scripts.stress.serve import KEYS, Served, served

TOKENS = 100
END_SECONDS = 300.0
"""For the streams that are under way when the machine is free again."""


class Phase(NamedTuple):
    name: str
    replaced: int
    """Processes, by the director's count."""
    begun: int
    whole: int
    """Streams that had every token and their end."""
    lines: list[str]
    """What the log said meanwhile."""


async def restarts(run_dir: Path) -> int:
    async with await Client.connect(run_dir) as client:
        while not (status := await client.status()).ready:
            await asyncio.sleep(0.1)
        return sum(status.restarts.values())


class Streams:
    """Keeps some streams going, one after the other."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._stopping = False
        self.begun = self.whole = 0

    async def keep(self, number: int) -> None:
        body = {
            "prompt": f"word {number}",
            "max_tokens": TOKENS,
            "ignore_eos": True,
            "stream": True,
            "return_token_ids": True,
        }
        while not self._stopping:
            self.begun += 1
            if await self._read(body):
                self.whole += 1

    async def _read(self, body: dict[str, object]) -> bool:
        """Whether it had all its tokens and its end."""
        tokens = 0
        try:
            async with self._http.post("/v1/completions", json=body) as answer:
                if answer.status != 200:
                    print(
                        f"a stream was refused: {answer.status} {await answer.text()}",
                        file=sys.stderr,
                    )
                    return False
                async for line in answer.content:
                    data = line.removeprefix(b"data: ").strip()
                    if data == b"[DONE]":
                        return tokens == TOKENS
                    if data:
                        tokens += sum(
                            len(choice.get("token_ids") or ())
                            for choice in json.loads(data).get("choices", ())
                        )
        except aiohttp.ClientError as error:
            print(f"a stream broke: {error}", file=sys.stderr)
        return False

    @asynccontextmanager
    async def going(self, count: int) -> AsyncIterator[None]:
        """Those that are under way at the end may finish."""
        tasks = [asyncio.create_task(self.keep(number)) for number in range(count)]
        yield
        self._stopping = True
        async with asyncio.timeout(END_SECONDS):
            await asyncio.gather(*tasks)


async def phase(
    name: str, server: Served, log: Path, given: argparse.Namespace, streams: int
) -> Phase:
    before, said = await restarts(server.run_dir), len(log.read_text().splitlines())
    timeout = aiohttp.ClientTimeout(total=None)
    headers = {"Authorization": f"Bearer {KEYS[0]}"}
    async with aiohttp.ClientSession(server.url, timeout=timeout, headers=headers) as http:
        load = Streams(http)
        async with load.going(streams), spinning(given.spinners):
            await asyncio.sleep(given.seconds)
    replaced = await restarts(server.run_dir) - before
    return Phase(name, replaced, load.begun, load.whole, log.read_text().splitlines()[said:])


async def measure(given: argparse.Namespace, log: Path) -> list[Phase]:
    async with served(demo_model(), log) as server:
        return [
            await phase("idle", server, log, given, 0),
            await phase("busy", server, log, given, given.streams),
        ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/dev starve", description=__doc__)
    parser.add_argument("--spinners", type=int, default=40, help="processes that want a core each")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each of the two phases")
    parser.add_argument("--streams", type=int, default=12)
    parser.add_argument("--log", type=Path, help="where the engine's log goes (default: nowhere)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        phases = asyncio.run(measure(given, given.log or Path(folder) / "log"))
    print("| engine | seconds | spinning on cores | replaced | streams | whole | log lines |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for one in phases:
        machine = f"{given.spinners} on {os.cpu_count()}"
        print(
            f"| {one.name} | {given.seconds:g} | {machine} | {one.replaced} | {one.begun} | "
            f"{one.whole} | {len(one.lines)} |"
        )
    for line in [line for one in phases for line in one.lines]:
        print(f"    {line}")
    return int(any(one.replaced or one.whole < one.begun for one in phases))


if __name__ == "__main__":
    sys.exit(main())
