"""The director's socket: what processes and clients say comes in, what they are told goes out.
Sends never wait."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from ...protocol import VERSION
from ...protocol.channel import bind_inbox, take
from ...protocol.edges.control import Refused, ToDirector
from ...protocol.wire import Decoder, Message, WireError, encode
from ..kernel.launch import director_endpoint

log = logging.getLogger(__name__)

AT_ONCE = 256
"""Messages between two turns of the loop."""
MEND = "Install the same version of thespis on both sides, then start the engine again."


class Mailbox:
    """`hear` gets each message, with the identity of the link that it came by. Bound at once, read
    from `open` on."""

    def __init__(self, run_dir: Path, hear: Callable[[bytes, Any], None]) -> None:
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = bind_inbox(self._context, director_endpoint(run_dir))
        self._decoder: Decoder[Any] = Decoder(ToDirector)
        self._draining = False
        """A look at the socket is due."""

    def open(self) -> None:
        self._loop.add_reader(self._socket.FD, self.drain)

    def close(self) -> None:
        """What was sent last has a moment to leave."""
        self._loop.remove_reader(self._socket.FD)
        self._socket.close(linger=200)
        self._context.term()

    def answer(self, identity: bytes, message: Message) -> None:
        """Lost where nobody has that link any more."""
        try:
            self._socket.send_multipart([identity, encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            log.debug("%s to %r is lost: %s", type(message).__name__, identity, error)
        self._drain_soon()  # a send may swallow the socket's readiness

    def drain(self) -> None:
        """Hear what has come."""
        self._draining = False
        if self._socket.closed:  # a look that was due when the engine ended
            return
        for _ in range(AT_ONCE):
            frames = take(self._socket)
            if frames is None:
                return
            try:
                message = self._decoder.decode(frames[-1])
            except WireError:
                log.warning("%r sends what is no message of protocol %d", frames[0], VERSION)
                text = (
                    f"The engine speaks version {VERSION} of its protocol, and this is none. {MEND}"
                )
                self.answer(frames[0], Refused(text))
                continue
            self._hear(frames[0], message)
        self._drain_soon()

    def _drain_soon(self) -> None:
        if not self._draining:
            self._draining = True
            self._loop.call_soon(self.drain)
