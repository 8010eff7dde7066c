"""Connections below the handlers: aiohttp's protocol, with our error texts and a clock, and limits on open files."""

import asyncio
import logging
import resource
import socket
import time
from functools import partial
from typing import Any

from aiohttp import web

from .errors import no_request

log = logging.getLogger(__name__)
BACKLOG = 1024
KEEP_ALIVE_SECONDS = 75.0
"""Longer than the 60 s of common proxies, so that the proxy closes first."""
SPARE_FILES = 32
"""Of the files that this process may open: kept for what it needs besides connections."""
MAX_FILES = 1 << 16
LINGER_SECONDS = 2.0
"""How long a caller that was refused before its body was read may go on sending. The bytes are thrown away; if the connection
were closed at once, the caller's system would throw the answer away."""


class HttpConnection(web.RequestHandler):
    """One caller's connection."""

    heard: float = 0.0
    """When the head of the newest request had arrived, by `time.perf_counter`."""

    crowded: bool = False
    """Hardly another file can be opened: this connection is answered 503 and closed, which leaves room for the others."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        number = transport.get_extra_info("socket").fileno()  # the lowest that was free: about as many are open
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.crowded = limit != resource.RLIM_INFINITY and number >= limit - SPARE_FILES
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        now, before = time.perf_counter(), self._request_count
        super().data_received(data)
        if self._request_count != before:
            self.heard = now

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answers what is not HTTP, and what no handler caught, in our own words: aiohttp's would tell its version and the
        exception's text. If an answer has begun, raises ConnectionError, which closes the connection.
        """
        if status < 500:
            log.info("what a caller sent is not HTTP")
        else:
            log.error("a request failed outside of its handler", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        return no_request(status)


class _Runner(web.AppRunner):
    @property
    def server(self) -> Any:
        """Makes the protocol of each connection."""
        manager = super().server
        return manager and partial(
            HttpConnection,
            manager,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,  # such bodies are refused; nor is one inflated only to be thrown away
        )


def allow_files() -> None:
    """Raise the limit on open files as far as the system allows: each connection is one, and shells give a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def serve_on(app: web.Application, listener: socket.socket) -> web.AppRunner:
    """Start answering. When a caller disconnects its handler is cancelled, and with it the request."""
    runner = _Runner(app, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    await web.SockSite(runner, listener, backlog=BACKLOG).start()
    return runner
