"""What cannot be taken is refused by its headers, before its body is there."""

import asyncio
import time

import pytest

from thespis.frontends.admission import Admission, Cost
from thespis.protocol.edges.control import Share

from .fake import FakeClient, served

HEAD = "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(("taken", "length"), [(Cost(2, 1, 0), 100), (Cost(1, 1, 1 << 20), 8 << 20)])
async def test_a_full_engine_answers_the_headers(path: str, taken: Cost, length: int) -> None:
    client = FakeClient()
    client.admission = Admission(Share(2, 1000, 4 << 20))
    client.admission.try_take(taken)
    async with served(client) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        began = time.monotonic()
        writer.write(HEAD.format(path=path, length=length).encode())
        async with asyncio.timeout(5):
            answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        took = time.monotonic() - began
        writer.close()
    assert answer.startswith("HTTP/1.1 429 ")
    assert "Retry-After: 1" in answer
    assert took < 1.0
    assert not client.submitted
