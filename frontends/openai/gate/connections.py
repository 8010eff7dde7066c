"""One caller's connection: aiohttp's protocol, with our error texts, a clock, and a limit for
heads. It reads two attributes that are not public: `_request_count` (heads that came whole) and
`_waiter` (a future while nothing is being answered);
tests/frontends/openai/gate/test_connections.py holds what depends on them."""

import asyncio
import logging
import time
from collections.abc import Callable

from aiohttp import web

from ..errors import (
    LATE_HEAD,
    NO_EXPECTATION,
    SERVER,
    Refusal,
    error_response,
    no_request,
    raw_answer,
)

log = logging.getLogger(__name__)
KEEP_ALIVE_SECONDS = 75.0
"""Longer than the 60 s of common proxies, so that the proxy closes first."""
LINGER_SECONDS = 2.0
"""How long a caller that was refused before its body was read may go on sending: if it were closed
at once, the caller's system would throw the answer away."""


class HttpConnection(web.RequestHandler):
    """`head_seconds`: for a head, from its first byte; `lost`: told when the connection is gone."""

    def __init__(
        self, manager: web.Server, head_seconds: float, lost: Callable[["HttpConnection"], None]
    ) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            # such bodies are refused; nor is one inflated only to be thrown away
            auto_decompress=False,
        )
        self.heard = 0.0
        """When the head of the newest request had arrived, by `time.perf_counter`."""
        self.refusal: Refusal | None = None
        """Answers every request on this connection, which is closed then."""
        self._visit_seconds = 0.0
        """For one who is turned away to ask."""
        self._head_seconds = head_seconds
        self._lost = lost
        self._deadline: asyncio.TimerHandle | None = None
        """For the head that has begun, or for one who is turned away to ask."""

    @property
    def new(self) -> bool:
        """Whether no request has come yet."""
        return self._request_count == 0

    def turn_away(self, refusal: Refusal, seconds: float) -> None:
        """Answer whatever it asks, or after so many seconds unasked, with `refusal`; then close."""
        self.refusal, self._visit_seconds = refusal, seconds
        self._set_deadline(seconds)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.refusal is not None:  # a handshake may have taken longer than the visit
            self._set_deadline(self._visit_seconds)

    def data_received(self, data: bytes) -> None:
        now, before = time.perf_counter(), self._request_count
        super().data_received(data)
        if self._request_count != before:
            self.heard = now
            self._clear_deadline()
        elif self._deadline is None and self._idle:
            self._set_deadline(self._head_seconds)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._clear_deadline()
        super().connection_lost(exc)
        self._lost(self)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what is not HTTP, and what no handler caught, in our words: aiohttp's would tell
        the exception's text. If an answer has begun, raises ConnectionError: the connection is
        closed."""
        if isinstance(exc, ConnectionError):
            log.info("a caller left before its answer")
            raise exc
        if status < 500:
            log.info("what a caller sent is not HTTP")
        else:
            log.error("a request failed outside of its handler", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        return no_request(status)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """aiohttp answers an unknown `Expect` outside of our routes itself, in plain text."""
        if resp.status == NO_EXPECTATION.status and not resp.prepared:
            resp = error_response(*NO_EXPECTATION)
            resp.headers["Server"] = SERVER
        return await super().finish_response(request, resp, start_time)

    @property
    def _idle(self) -> bool:
        """Whether nothing is being answered or waits for it: bytes are then those of a head."""
        return self.new or (self._waiter is not None and not self._waiter.done())

    def _set_deadline(self, seconds: float) -> None:
        self._clear_deadline()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self._too_late)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self._idle and self.transport is not None:
            self.transport.write(raw_answer(self.refusal or LATE_HEAD))
            self.force_close()
