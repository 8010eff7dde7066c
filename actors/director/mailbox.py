"""The director's socket. Sends never wait."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from ...protocol import VERSION
from ...protocol.channel import bind_inbox
from ...protocol.edges.control import Refused, ToDirector
from ...protocol.wire import Decoder, Message, WireError, encode
from ..kernel.launch import director_endpoint
from ..kernel.pump import Pump

log = logging.getLogger(__name__)

MEND = "Install the same version of thespis on both sides, then start the engine again."


class Mailbox:
    """`hear` gets each message and its link's identity. Bound at once, read from `pump.open` on."""

    def __init__(self, run_dir: Path, hear: Callable[[bytes, Any], None]) -> None:
        self._hear = hear
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = bind_inbox(self._context, director_endpoint(run_dir))
        self._decoder: Decoder[Any] = Decoder(ToDirector)
        self.pump = Pump(self._socket, self._take)

    def close(self) -> None:
        """What was sent last has a moment to leave."""
        self.pump.close()
        self._socket.close(linger=200)
        self._context.term()

    def answer(self, identity: bytes, message: Message) -> None:
        """Lost where nobody has that link any more."""
        try:
            self._socket.send_multipart([identity, encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            log.debug("%s to %r is lost: %s", type(message).__name__, identity, error)
        self.pump.soon()

    def _take(self, frames: list[bytes]) -> None:
        try:
            message = self._decoder.decode(frames[-1])
        except WireError:
            log.warning("%r sends what is no message of protocol %d", frames[0], VERSION)
            text = f"The engine speaks version {VERSION} of its protocol, and this is none. {MEND}"
            self.answer(frames[0], Refused(text))
        else:
            self._hear(frames[0], message)
