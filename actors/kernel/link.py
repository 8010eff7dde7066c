"""A process's link to the director: Hello, Ready, heartbeats, and what the director says."""

import ctypes
import os
import secrets
import threading
from collections.abc import Callable
from typing import Any

import zmq

from ...protocol import VERSION
from ...protocol.channel import take
from ...protocol.edges.control import FromDirector, Heartbeat, Hello, Refused, Stalled, Welcome
from ...protocol.wire import Decoder, Message, encode
from .launch import director_endpoint

_PR_SET_NAME = 15
HEART = "heartbeat"
"""Name of the thread that speaks for its process."""
HEARTBEAT_SECONDS = 0.5
HELLO_SECONDS = 30.0
START_SECONDS = 300.0
"""For an engine's processes: what the model is has to be found out before."""
HANG_SECONDS = 300.0
"""A longer handler will not come back: no model step, encoder batch or decode is that long."""
PATIENCE_MS = 1000
"""For a director that does not read: how long a send waits, and the last messages at the end."""


class DirectorLink:
    """One DEALER to the director. `hello` blocks (at start only); afterwards `socket` is polled by
    the owner's loop.

    Its zmq identity is drawn: a second process under the same name is refused and takes nothing
    from the first.
    """

    def __init__(self, context: "zmq.Context[Any]", run_dir: str, role: str, epoch: int) -> None:
        self.role, self.epoch = role, epoch
        self._context = context
        self._endpoint = director_endpoint(run_dir)
        self._decoder: Decoder[Any] = Decoder(FromDirector)
        self._identity = f"{role}.{epoch}.{secrets.token_hex(4)}"
        self.socket = self._connect("")
        self.sent: Callable[[], None] = lambda: None
        """Called after each send; that of a loop looks at the socket again: see `pump`."""
        self._beating = threading.Event()
        self._heart: threading.Thread | None = None
        self.working_since: float | None = None
        """When the handler that is running began (time.monotonic), None between handlers. Set by
        the owner's loop."""

    def _connect(self, suffix: str) -> "zmq.Socket[bytes]":
        socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.IDENTITY, f"{self._identity}{suffix}".encode())
        socket.setsockopt(zmq.LINGER, PATIENCE_MS)
        socket.setsockopt(zmq.SNDTIMEO, PATIENCE_MS)
        socket.connect(self._endpoint)
        return socket

    def hello(self, seconds: float | None = None) -> Welcome | Refused:
        """Introduce this process. Raises TimeoutError after `seconds`, or `HELLO_SECONDS`."""
        self.send(Hello(self.role, self.epoch, os.getpid(), VERSION))
        if not self.socket.poll(int((HELLO_SECONDS if seconds is None else seconds) * 1000)):
            raise TimeoutError("no director answers in the run directory")
        answer = self._decoder.decode(self.socket.recv())
        # The director knows this identity from the Hello only.
        assert isinstance(answer, Welcome | Refused)
        return answer

    def start_heartbeats(self) -> None:
        """From a thread of their own: a long import is not a death, a handler that hangs is one."""
        self._heart = threading.Thread(target=self._beat, name=HEART, daemon=True)
        self._heart.start()

    def _beat(self) -> None:
        # The director looks for it by this name.
        ctypes.CDLL(None).prctl(_PR_SET_NAME, HEART.encode())
        socket = self._connect(".hb")
        beat = encode(Heartbeat(self.role, self.epoch))
        hang = encode(Stalled(self.role, self.epoch))
        seen, worked = None, 0.0
        while True:
            try:
                if self._beating.wait(HEARTBEAT_SECONDS):
                    break
                # Counted in beats: a paused container, or a stop by the terminal, is no work that
                # hangs.
                before, seen = seen, self.working_since
                worked = worked + HEARTBEAT_SECONDS if seen is not None and seen == before else 0.0
                socket.send(hang if worked > HANG_SECONDS else beat, zmq.NOBLOCK)
            # the director does not read, or the work in hand holds all that it may
            except (MemoryError, zmq.ZMQError):
                continue
        socket.close(linger=0)

    def send(self, message: Message) -> None:
        self.socket.send(encode(message))
        self.sent()

    def receive(self) -> Any | None:
        """The next message of the director, or None where none waits."""
        frames = take(self.socket)
        return None if frames is None else self.decode(frames)

    def decode(self, frames: list[bytes]) -> Any:
        return self._decoder.decode(frames[-1])

    def close(self) -> None:
        self._beating.set()
        if self._heart is not None:
            self._heart.join()
        self.socket.close()
