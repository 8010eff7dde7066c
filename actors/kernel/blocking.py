"""Actors that compute: plain blocking zmq, no event loop (a hop is 0.1-0.2 ms shorter)."""

import time

import zmq

from ...protocol.channel import take, waits
from .base import BaseActor


class BlockingActor(BaseActor):
    """Does one thing at a time: handlers may compute for long, and there are no tasks."""

    def on_start(self, config: bytes) -> dict[str, int]:
        """Load what is needed; the answer goes into `Ready.notes`. Raise EngineError for a text the
        user should see."""
        return {}

    def on_idle(self) -> None:
        """There is nothing to do until the next message comes."""

    def on_stop(self) -> None:
        """Release what the process holds."""

    def run(self) -> None:
        config = self.hello()
        try:
            try:
                notes = self.on_start(config)
            except Exception as error:
                self.tell_fatal(error)
                raise SystemExit(1) from None
            self.tell_ready(notes)
            self._serve()
        finally:
            self.on_stop()
            self.close()

    def _serve(self) -> None:
        """Until `Stop`."""
        director, control, inbox = self.link.socket, self.control, self.inbox
        poller = zmq.Poller()
        for socket in (director, control, inbox):
            poller.register(socket, zmq.POLLIN)
        while True:
            if not any(map(waits, (director, control, inbox))):
                self.link.working_since = None
                self.on_idle()
                poller.poll()
            self.link.working_since = time.monotonic()
            message = self.link.receive()
            if message is not None and not self.hear_director(message):
                return
            if (frames := take(control)) is not None:
                self.hear_control(frames)
            if (frames := take(inbox)) is not None:  # one at a time: control comes first
                self.hear(frames)
