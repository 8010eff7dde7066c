"""The loop over sockets of every process with an event loop: actors, clients and the director.

zmq's descriptors are edge-triggered: one says that something has changed, not that a message waits,
and each call on its socket, a send as well, may swallow that. So a socket is read until nothing
waits there; a turn that ends before is followed by another; and what has been sent to is looked at
again (`soon`). Whoever leaves one of the three out loses messages until the next one comes.
"""

import asyncio
from collections.abc import Callable

import zmq

from ...protocol.channel import take

AT_ONCE = 256
"""Messages of a turn; then the loop's other tasks get theirs."""


class Pump:
    """Hands on what comes to one socket, message by message.

    `first`: is drained before each message of this one is handed on. `guard`: runs the turns.
    """

    def __init__(
        self,
        socket: "zmq.Socket[bytes]",
        handle: Callable[[list[bytes]], None],
        *,
        first: "Pump | None" = None,
        guard: Callable[[Callable[[], None]], None] = lambda turn: turn(),
    ) -> None:
        self.socket, self._handle, self._first, self._guard = socket, handle, first, guard
        self._loop: asyncio.AbstractEventLoop | None = None
        """From `open` to `close`."""
        self._due = False
        """A turn is."""
        self._closed = False

    def open(self) -> None:
        """Look at the socket from now on, whenever something comes."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.socket.FD, self._turn)
        self.soon()  # what came before the reader was there

    def soon(self) -> None:
        """To be called after each send on the socket."""
        if self._loop is not None and not self._due:
            self._due = True
            self._loop.call_soon(self._turn)

    def drain(self) -> None:
        """Hand on what is there now. Nothing more after `close`, which may be called meanwhile."""
        more = False
        try:
            for _ in range(AT_ONCE):
                more = False
                frames = None if self._closed else take(self.socket)
                more = frames is not None
                if self._first is not None:
                    self._first.drain()
                if frames is None or self._closed:
                    return
                self._handle(frames)
        finally:  # whatever a handler has raised
            if more:
                self.soon()

    def close(self) -> None:
        """The socket is not touched any more. Idempotent."""
        self._closed = True
        if self._loop is not None:
            self._loop.remove_reader(self.socket.FD)
            self._loop = None

    def _turn(self) -> None:
        self._due = False
        self._guard(self.drain)
