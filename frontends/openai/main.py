"""The HTTP frontend as a process: role `http`, started and restarted like the actors, and a client
of its engine by the same link."""

import asyncio
import logging
import socket
import time
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import disable_created_metrics

from ...actors.kernel.actor import Actor, run
from ...actors.kernel.launch import Launch
from ...protocol.config.roles import HttpConfig
from ...protocol.config.server import ServerConfig
from ...protocol.config.server_tls import context_of
from ...protocol.edges.control import Excuse, Stop
from ...protocol.errors import EngineError
from ..client.client import CUT, Client
from ..client.connection import Connection
from .app import make_app
from .app_state import APP_STATE
from .blame import open_blame
from .gate.accepting import BACKLOG, Limits, serve_on
from .traces.chrome import begin
from .traces.otlp import check_installed

log = logging.getLogger(__name__)

FIRST = 1
"""Epoch of a role that has had no predecessor."""


class Http(Actor):
    """Listens as long as it lives. A drain refuses what is new and finishes what was accepted."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self._connection = Connection(self)
        self._client: Client | None = None
        self._app: web.Application | None = None
        self._told_to_stop = asyncio.Event()

    async def on_start(self, config: bytes) -> dict[str, int]:
        settings = msgspec.json.decode(config, type=HttpConfig)
        if settings.server.otlp_endpoint is not None:
            check_installed()
        if settings.server.trace_out is not None and self.launch.epoch == FIRST:
            begin(settings.server.trace_out)
        listener = open_listener(settings.server)
        assert self.share is not None
        self._client = Client(self._connection, settings.client, self.share)
        run, now = self.launch, time.monotonic()
        blame = open_blame(run.directory, run.epoch, run.outside, now, self._excuse)
        self._app = make_app(self._client, settings, blame)
        self.tasks.start_soon(self._serve, self._app, listener, settings.server)
        return {"port": listener.getsockname()[1]}

    async def _serve(
        self, app: web.Application, listener: socket.socket, server: ServerConfig
    ) -> None:
        """Callers wait in the kernel until those are there who do the work. Ends when what was
        accepted is answered; the director waits for that only so long."""
        await self._connection.here.wait()
        tls = None if server.tls is None else context_of(server.tls)
        runner = await serve_on(app, listener, limits_of(server), tls)
        await self._told_to_stop.wait()
        await close(app, runner)
        self.stop()

    def _excuse(self, epochs: tuple[int, ...]) -> None:
        self.link.send(Excuse(self.launch.role, epochs))

    def hear(self, frames: list[bytes]) -> None:
        try:
            self._connection.hear(frames)
        except Exception:  # as in every client: what goes wrong with one request ends no other
            log.exception("a message was not understood")

    def hear_director(self, message: Any) -> bool:
        super().hear_director(message)
        self._connection.hear_director(message)
        if isinstance(message, Stop):
            self._connection.here.set()  # whoever waits in the kernel is told
            self._told_to_stop.set()
        return True

    async def on_stop(self) -> None:
        if self._client is not None:
            await self._client.close()

    def counters(self) -> dict[str, float]:
        if self._app is None or self._client is None:
            return {}
        return {"busy": float(self._app[APP_STATE].busy), **self._client.counters()}


def limits_of(server: ServerConfig) -> Limits:
    return Limits(server.max_connections_per_address, server.header_timeout)


def open_listener(server: ServerConfig) -> socket.socket:
    """The inherited socket, or a new one. Raises EngineError if it cannot listen on the address."""
    if server.listen_fd is not None:
        listener = socket.socket(fileno=server.listen_fd)
    else:
        try:
            listener = socket.create_server((server.host, server.port), backlog=BACKLOG)
        except OSError as error:
            raise EngineError(
                f"Cannot listen on {server.host}:{server.port}: {error.strerror}."
            ) from error
    listener.setblocking(False)
    return listener


async def close(app: web.Application, runner: web.AppRunner, seconds: float | None = None) -> None:
    """Refuse what is new, wait at most `seconds` for what is under way, then stop listening."""
    state = app[APP_STATE]
    state.client.drain()
    try:
        async with asyncio.timeout(seconds):
            await state.idle()
    except TimeoutError:
        log.warning("%d requests were cut off at shutdown", state.busy)
        state.client.end_all(CUT)  # each caller is told, in a stream by the last event
    await runner.cleanup()


def main(launch: Launch) -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    run(Http(launch))
