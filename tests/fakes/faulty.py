"""Any actor whose messages to one receiver meet a fault: FAULTY holds `how`, `to` and `first` as
JSON (see `Fault`)."""

import importlib
import os
import time
from typing import Any, Literal

import msgspec
import zmq

from thespis.actors.director.config import MODULES
from thespis.actors.kernel.launch import Launch
from thespis.protocol import channel
from thespis.protocol.topology import kind_of
from thespis.protocol.wire import Message, encode

How = Literal["twice", "late", "lost", "reordered"]
LATE_SECONDS = 0.005
PLAYED = MODULES | {"gpu-runner": "fake_runner"}


class Fault(msgspec.Struct, frozen=True):
    how: How
    """twice, late: every message from `first` on; lost, reordered (behind the next one): `first`,
    once in the sender's life."""
    to: str
    """The kind of the receiver."""
    first: int
    """The number of the message on its edge."""


def faulty(fault: Fault) -> type[channel.Outgoing]:
    """What to put in place of `peers.Outgoing`. The numbers on the wire stay those of a sender that
    knows of no fault."""
    harmed = False

    class Faulty(channel.Outgoing):
        def __init__(
            self, context: "zmq.Context[Any]", me: str, epoch: int, endpoint: str, bound: int
        ) -> None:
            super().__init__(context, me, epoch, endpoint, bound)
            self._met = kind_of(endpoint.rpartition("/")[2].partition(".")[0]) == fault.to
            self._held: list[bytes] | None = None

        def send(self, message: Message) -> None:
            nonlocal harmed
            number = self._sequence
            if not self._met or number < fault.first:
                return super().send(message)
            frames = [channel._HEADER.pack(self._epoch, number), encode(message)]
            self._sequence += 1
            match fault.how:
                case "lost" if not harmed:
                    harmed = True
                    return None
                case "reordered" if not harmed:
                    harmed, self._held = True, frames
                    return None
                case "late":
                    time.sleep(LATE_SECONDS)
                case "twice":
                    self._socket.send_multipart(frames)
            self._socket.send_multipart(frames)
            if self._held is not None:
                self._socket.send_multipart(self._held)
                self._held = None
            return None

    return Faulty


def main(launch: Launch) -> None:
    peers = importlib.import_module("thespis.actors.kernel.peers")
    peers.Outgoing = faulty(msgspec.json.decode(os.environ["FAULTY"], type=Fault))  # type: ignore[attr-defined]
    importlib.import_module(PLAYED[kind_of(launch.role)]).main(launch)
