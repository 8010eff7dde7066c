"""What a streamed answer is on the wire, whoever writes it: aiohttp, or past it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web

from thespis.frontends.openai.answers.sse import EventStream

EVENT = b"data: x\n\n"
PIECE, PIECES = b"x" * 4096, 10_000


class Server:
    def __init__(self) -> None:
        self.written = 0
        self.most = 0
        """Bytes that waited for the caller at once."""
        self.over = asyncio.Event()

    async def few(self, request: web.Request) -> web.StreamResponse:
        out = EventStream(request, {"X-Own": "1"})
        await out.open()
        for _ in range(5):
            await out.write(EVENT)
            await asyncio.sleep(0)
        return out.response

    async def many(self, request: web.Request) -> web.StreamResponse:
        out = EventStream(request, {})
        await out.open()
        try:
            for _ in range(PIECES):
                await out.write(PIECE)
                self.written += 1
                if request.transport is not None:
                    self.most = max(self.most, request.transport.get_write_buffer_size())
        finally:
            self.over.set()
        return out.response


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Server, int]]:
    server, app = Server(), web.Application()
    app.router.add_get("/few", server.few)
    app.router.add_get("/many", server.many)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield server, runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_events_come_whole_and_the_connection_serves_on() -> None:
    async with served() as (_, port), ClientSession() as session:
        for _ in range(2):
            async with session.get(f"http://127.0.0.1:{port}/few") as answer:
                assert answer.headers["X-Own"] == "1"
                assert answer.headers["Transfer-Encoding"] == "chunked"
                assert await answer.read() == 5 * EVENT


async def test_a_caller_of_http_1_0_gets_no_chunks() -> None:
    async with served() as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /few HTTP/1.0\r\nHost: x\r\n\r\n")
        head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
        writer.close()
        assert b"chunked" not in head.lower()
        assert body == 5 * EVENT


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_caller_that_does_not_read_costs_no_memory(leaves: bool) -> None:
    async with served() as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /many HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await reader.readline()
        before = -1
        while server.written != before or not before:
            before = server.written
            await asyncio.sleep(0.2)
        assert before < PIECES, "all of it lies somewhere"
        if not leaves:
            while await reader.read(1 << 20):
                pass
        writer.close()
        await asyncio.wait_for(server.over.wait(), 10)
        assert server.written == PIECES if not leaves else server.written < PIECES
        assert server.most < 1 << 18
