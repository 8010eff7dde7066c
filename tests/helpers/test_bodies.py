"""The search through all answers finds what it is for, whichever client has read it, and nothing
else."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp import web

from .bodies import SECRETS, SERVER, Answers, secret_in


@pytest.mark.parametrize(
    "leak",
    [
        "<PIL.Image.Image image mode=RGB at 0x7F21AB>",
        "got <thespis.client.Client object>",
        "got <class 'int'>",
        'Traceback (most recent call last):\n File "x.py", line 3',
        "in /tmp/thespis-1/engine.log",
        "cannot open /dev/shm/thespis-4",
        "see app.py",
        "/usr/lib/python3/site-packages/x",
    ],
)
def test_what_no_body_may_tell(leak: str) -> None:
    assert secret_in(200, f'{{"text": "{leak}"}}'.encode()) is not None
    assert secret_in(400, f'{{"error": "{leak}"}}'.encode()) is not None


@pytest.mark.parametrize("leak", ["ValueError('x')", "[Errno 2]", "in /etc", "aiohttp.ClientError"])
def test_what_only_no_error_may_tell(leak: str) -> None:
    assert secret_in(500, leak.encode()) is not None
    assert secret_in(200, leak.encode()) is None
    assert secret_in(200, b"data: {}\n\nevent: error\ndata: " + leak.encode() + b"\n\n") is not None


@pytest.mark.parametrize("leak", ["10.0.0.7", "connect to ::1 failed"])
def test_what_only_no_error_of_a_fetch_may_tell(leak: str) -> None:
    assert secret_in(500, leak.encode()) is None
    assert SECRETS.search(leak)


def test_ordinary_words_are_none() -> None:
    for text in (
        "messages[0].content[1]: The picture is broken.",
        "Found 2 '<image>' placeholders",
        "at 0 of 5; 1.5 MiB; a/b",
    ):
        assert secret_in(400, text.encode()) is None


@asynccontextmanager
async def site(server: str) -> AsyncIterator[str]:
    """It tells a path in two pieces, as an error, and says that it is `server`."""

    async def tell(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=422, headers={"Server": server})
        await response.prepare(request)
        await response.write(b"no file /tm")
        await asyncio.sleep(0.02)
        await response.write(b"p/secret")
        return response

    app = web.Application()
    app.add_routes([web.get("/", tell)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def by_urllib(url: str) -> None:
    def read() -> None:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url)
        with refused.value as answer:
            answer.read()

    await asyncio.to_thread(read)


async def by_aiohttp(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        async for _ in response.content.iter_any():
            pass


async def by_httpx(url: str) -> None:
    await asyncio.to_thread(lambda: httpx.get(url))


async def by_async_httpx(url: str) -> None:
    async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
        await response.aread()


@pytest.mark.parametrize("read", [by_urllib, by_aiohttp, by_httpx, by_async_httpx])
async def test_every_client_is_watched(
    read: Callable[[str], Coroutine[Any, Any, None]], answers: Answers
) -> None:
    async with site(SERVER) as ours, site("another") as theirs:
        await read(theirs)
        assert answers.look() == (0, [])
        await read(ours)
    count, (told,) = answers.look()
    assert count == 1
    assert "no file /tmp/secret" in told
