"""A request that comes from within: a handler is called as for a caller on the network, and what it
answers is kept. So a line of a batch takes the one path of all requests, without a connection."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple, cast

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from ..access import TOLD, Told
from ..app_state import APP_STATE, TENANT
from ..bodies.reading import OWN_ID_HEADER
from ..errors import error_response, failure_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STEP = 1 << 16
"""Bytes of a body that are given at once."""


class Inner(NamedTuple):
    """What a caller would have got."""

    status: int
    body: bytes
    """JSON."""
    id: str
    told: Told


class _Body:
    """As much of aiohttp's StreamReader as the reading of a body takes."""

    def __init__(self, data: bytes) -> None:
        self._pieces: Iterator[bytes] = (data[at : at + STEP] for at in range(0, len(data), STEP))

    async def readany(self) -> bytes:
        return next(self._pieces, b"")


class _Answer(AbstractStreamWriter):
    """Keeps what a handler writes by itself."""

    def __init__(self) -> None:
        self.body = bytearray()

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self.body += chunk

    async def write_eof(self, chunk: bytes = b"") -> None:
        self.body += chunk

    async def drain(self) -> None:
        """Nothing is ever full here."""

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:
        raise AssertionError("answers are not compressed")

    def enable_chunking(self) -> None:
        """Pieces are put together."""

    async def write_headers(self, status_line: str, headers: "CIMultiDict[str]") -> None:
        """The status is the response's."""


class _NoConnection:
    """What a request asks of its connection."""

    ssl_context = peername = sockname = transport = None


class _Request(web.Request):
    """`inner_app`: whose handler is called."""

    ATTRS = web.Request.ATTRS | frozenset({"inner_app"})
    inner_app: web.Application

    @property
    def app(self) -> web.Application:
        return self.inner_app


async def ask(app: web.Application, handler: Handler, path: str, tenant: str, body: bytes) -> Inner:
    """The answer to a POST of JSON. Never raises for what is wrong with the request."""
    headers = {hdrs.CONTENT_TYPE: "application/json", hdrs.CONTENT_LENGTH: str(len(body))}
    writer = _Answer()
    request = _request(app, path, CIMultiDict(headers), body, writer)
    request[TENANT], request[TOLD] = tenant, (told := Told())
    state, began = app[APP_STATE], time.monotonic()
    try:
        response = await handler(request)
    except Exception as error:
        response = error_response(*failure_of(error))
    finally:
        state.forget(request)
        if told.running:
            state.metrics.over(told)
    state.metrics.answered(path, response.status, time.monotonic() - began)
    written = response.body if isinstance(response, web.Response) else writer.body
    assert isinstance(written, bytes | bytearray), "answers are bytes"
    id = response.headers.get(OWN_ID_HEADER) or told.id or ""
    return Inner(response.status, bytes(written), id, told)


def _request(
    app: web.Application,
    path: str,
    headers: "CIMultiDict[str]",
    body: bytes,
    writer: AbstractStreamWriter,
) -> web.Request:
    message = RawRequestMessage(
        hdrs.METH_POST, path, HttpVersion11, CIMultiDictProxy(headers), (), True, None, False,
        False, URL(path),
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    given = (message, cast(Any, _Body(body)), cast(Any, _NoConnection()), writer, task, loop)
    request = _Request(*cast(Any, given))
    request.inner_app = app
    return request
