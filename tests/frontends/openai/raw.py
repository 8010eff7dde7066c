"""HTTP by hand: what a client library would not send, or would not show."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

SECONDS = 10


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def code(self) -> str:
        code: str = json.loads(self.body)["error"]["code"]
        return code


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        async with asyncio.timeout(SECONDS):
            yield reader, writer
    finally:
        writer.close()


async def exchange(url: str, sent: bytes) -> bytes:
    """All that comes back until the server closes."""
    async with connected(url) as (reader, writer):
        writer.write(sent)
        return await reader.read()


async def ask(
    url: str, head: str, body: bytes = b"", method: str = "POST", path: str = "/v1/chat/completions"
) -> Answer:
    """One request on a connection of its own; `head`: its header lines, of any characters below
    U+0100."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: close",
        *head.splitlines(),
    ]
    sent = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
    async with connected(url) as (reader, writer):
        writer.write(sent)
        return await answer(reader)


async def answer(reader: asyncio.StreamReader) -> Answer:
    """The next answer, which announces its length."""
    first = read(await reader.readuntil(b"\r\n\r\n"))
    return first._replace(
        body=await reader.readexactly(int(first.headers.get("content-length", "0")))
    )


def read(received: bytes) -> Answer:
    """The first answer in `received`."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(first.split()[1]), headers, body)


def chat(**more: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": "hi"}], **more}).encode()
