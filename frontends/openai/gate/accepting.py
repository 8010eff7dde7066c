"""Who gets a connection, who one only to hear that there is none, and who waits in the kernel.
asyncio's own accepting closes callers without a byte when files run out, and resets those whom the
kernel has accepted when it ends."""

import asyncio
import ctypes
import ipaddress
import logging
import resource
import socket
import ssl
import struct
from collections import Counter
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp import web

from ....protocol.config.open_files import MOST, SPARE
from ...client.client import CLOSED
from ..errors import CROWDED, TOO_MANY_CONNECTIONS, Refusal
from .connections import HttpConnection

log = logging.getLogger(__name__)
BACKLOG = 1024
AT_ONCE = 64
"""Callers accepted before other tasks of the loop get a turn."""
VISIT_SECONDS = 2.0
"""For a caller that is turned away to send its request."""
LAST_SECONDS = 0.5
"""The same at the end: nobody is waited for any longer."""
RETRY_SECONDS = 0.25
"""After a failure to accept, where no connection ends sooner."""
GOODBYE_SECONDS = 1.0
"""For a caller to answer the end of TLS."""
SHUTTING_DOWN = Refusal(CLOSED, 503)


class Limits(msgspec.Struct, frozen=True):
    """What one caller may take of the door."""

    per_address: int = 0
    """Connections; 0: no limit."""
    head_seconds: float = 10.0
    """For the head of a request, from its first byte, and before it for the handshake of TLS."""


NO_LIMITS = Limits()


def neighbourhood(address: str) -> str:
    """What counts as one address: of IPv6 the network that one subscriber gets."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))
    return str(ip)


class Gate(web.BaseSite):
    """Accepts callers from `listener` until it is stopped."""

    def __init__(
        self,
        runner: web.AppRunner,
        listener: socket.socket,
        limits: Limits,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(runner)
        assert runner.server is not None
        self._manager = runner.server
        self._listener = listener
        self._limits = limits
        self._secured: dict[str, Any] = {}
        if tls is not None:
            self._secured = {
                "ssl": tls,
                "ssl_handshake_timeout": limits.head_seconds,
                "ssl_shutdown_timeout": GOODBYE_SECONDS,
            }
        self._loop = asyncio.get_running_loop()
        self._connections: dict[HttpConnection, str] = {}
        """Those there are, and whose."""
        self._census: Counter[str] = Counter()
        self._starting: set[asyncio.Task[None]] = set()
        self._accepting = False
        self._ending = False
        self._empty = asyncio.Event()
        """Set when no newcomer is left, once it ends."""

    @property
    def name(self) -> str:
        return "gate"

    async def start(self) -> None:
        await super().start()
        self._listener.setblocking(False)
        self._listener.listen(BACKLOG)
        self._resume()

    async def stop(self) -> None:
        """Stop listening. Nobody whom the kernel has let in is reset: who has connected is told."""
        self._ending = True
        _ignore_handshakes(self._listener)
        while self._accept_one():
            pass
        self._pause()
        with suppress(OSError):
            # For every process that holds it: callers are refused from here on.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._newcomers():
            connection.turn_away(SHUTTING_DOWN, LAST_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * LAST_SECONDS):
                while self._starting or self._newcomers():
                    self._empty.clear()
                    await self._empty.wait()
        for task in self._starting:  # in the middle of a handshake
            task.cancel()
        await super().stop()

    def _newcomers(self) -> list[HttpConnection]:
        return [connection for connection in self._connections if connection.new]

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            if not self._accept_one():
                return

    def _accept_one(self) -> bool:
        """Whether there may be another."""
        try:
            caller, address = self._listener.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:
            log.warning("no connection could be accepted: %s", error.strerror)
            self._pause(RETRY_SECONDS)
            return False
        caller.setblocking(False)
        number = caller.fileno()  # the lowest that was free: about as many are open
        home = neighbourhood(address[0]) if isinstance(address, tuple) else ""
        self._admit(caller, home, _files_left(number))
        if _files_left(number) <= SPARE // 2 and not self._ending:
            self._pause()  # until a connection ends: there is this one
            return False
        return True

    def _admit(self, caller: socket.socket, home: str, files_left: int) -> None:
        connection = HttpConnection(self._manager, self._limits.head_seconds, self._lost)
        if self._ending:
            connection.turn_away(SHUTTING_DOWN, LAST_SECONDS)
        elif files_left <= SPARE:
            connection.turn_away(CROWDED, VISIT_SECONDS)
        elif 0 < self._limits.per_address <= self._census[home]:
            connection.turn_away(TOO_MANY_CONNECTIONS, VISIT_SECONDS)
        self._connections[connection] = home
        self._census[home] += 1
        task = self._loop.create_task(self._connect(connection, caller))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _connect(self, connection: HttpConnection, caller: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, caller, **self._secured)
        except BaseException as error:  # it has left already, or speaks no TLS, or not in time
            caller.close()
            self._lost(connection)
            if not isinstance(error, OSError):
                raise

    def _lost(self, connection: HttpConnection) -> None:
        home = self._connections.pop(connection, None)
        if home is None:
            return
        self._census[home] -= 1
        if not self._census[home]:
            del self._census[home]
        self._empty.set()
        self._loop.call_soon(self._resume)  # its file is closed right after this

    def _pause(self, seconds: float | None = None) -> None:
        """Leave callers in the kernel, for so long or until a connection ends."""
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._listener.fileno())
        if seconds is not None:
            self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        if not self._accepting and not self._ending:
            self._accepting = True
            self._loop.add_reader(self._listener.fileno(), self._accept)


def _files_left(number: int) -> int:
    """Descriptors above `number` that this process may have."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if limit == resource.RLIM_INFINITY else limit - number


def _ignore_handshakes(listener: socket.socket) -> None:
    """Have the kernel drop packets, so that between the last accept and the end nobody is let in:
    callers try again, and are refused. A classic BPF program of one instruction: `ret 0`."""
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(instruction))
    with suppress(OSError):
        # SO_ATTACH_FILTER, which the module socket does not name.
        listener.setsockopt(socket.SOL_SOCKET, 26, program)


async def serve_on(
    app: web.Application,
    listener: socket.socket,
    limits: Limits = NO_LIMITS,
    tls: ssl.SSLContext | None = None,
) -> web.AppRunner:
    """Start answering. A caller's leaving cancels its handler, and with it the request."""
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    await Gate(runner, listener, limits, tls).start()
    return runner
