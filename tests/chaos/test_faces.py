"""What a caller over HTTP has seen of its answer's end."""

import asyncio

import aiohttp
import pytest

from thespis.scripts.stress.faces import BROKEN, HttpFace
from thespis.scripts.stress.history import Record
from thespis.scripts.stress.pool import make_pool


@pytest.mark.parametrize(("last", "error"), [(b"data: [DONE]\n\n", None), (b": hello\n\n", BROKEN)])
async def test_a_server_that_dies_behind_the_answers_end_has_answered(
    last: bytes, error: str | None
) -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%s\r\n" % (len(last), last))
        writer.close()  # without the chunk that ends a body
        await writer.wait_closed()

    record = Record("some", "HTTP", 0.0)
    async with await asyncio.start_server(die, "127.0.0.1", 0) as server:
        url = "http://127.0.0.1:{1}".format(*server.sockets[0].getsockname())
        async with aiohttp.ClientSession(url) as session:
            await HttpFace(session, "", ["key"]).put(make_pool(1, 4, 8, ())[0], record)
    assert [end.error for end in record.ended] == [error]
