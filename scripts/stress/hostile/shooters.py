"""The processes that put cases: started before anything is measured, then kept busy with one case
each."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import msgspec

from .judge import Outcome
from .shooter import DRAWN, READY

START_SECONDS = 120.0
PATIENCE_SECONDS = 300.0
"""For one case, with the drawing of it on a machine that has little time for it."""


class Shooter:
    """One process; its methods raise TimeoutError where it hangs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> None:
        async with asyncio.timeout(START_SECONDS):
            _expect(READY, await self._line())

    async def put(self, number: int) -> Outcome:
        return msgspec.json.decode(await self._ask(b"%d\n" % number), type=Outcome)

    async def draw(self, number: int) -> None:
        """What `put` does before it turns to the server."""
        _expect(DRAWN, await self._ask(b"-%d\n" % number))

    async def _ask(self, line: bytes) -> bytes:
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._line()

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.readline()


def _expect(wanted: bytes, line: bytes) -> None:
    if line != wanted:
        raise RuntimeError(f"a shooter said {line[:80]!r} instead of {wanted!r}")


@asynccontextmanager
async def shooters(count: int, seed: int, biggest: int, port: int) -> AsyncIterator[list[Shooter]]:
    """All of them ready."""
    settings = ("--seed", seed, "--biggest", biggest, "--port", port)
    async with AsyncExitStack() as stack:
        started = [
            await stack.enter_async_context(_process(*map(str, settings))) for _ in range(count)
        ]
        for shooter in started:
            await shooter.ready()
        yield started


@asynccontextmanager
async def _process(*settings: str) -> AsyncIterator[Shooter]:
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-P", "-m", f"{__package__}.shooter", *settings)
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 22)
    try:
        yield Shooter(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
