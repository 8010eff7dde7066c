"""A runner or detokenizer whose messages arrive twice, late, in another order, or not at all: FAULTY_HOW, once.

FAULTY_TO names the receiver by the beginning of its role.
"""

import importlib
import os
import time
from typing import Any

import zmq

from thespis.actors.launch import Launch
from thespis.protocol import channel
from thespis.protocol.wire import Message, encode

HOW, RECEIVER = os.environ.get("FAULTY_HOW", ""), os.environ.get("FAULTY_TO", "")
PLAYED = {"gpu-runner": "fake_runner", "detokenizer": "thespis.actors.detokenizer.actor"}
FIRST = 25
"""The message that meets the fault; twice, late: every one from it on."""


class Faulty(channel.Outgoing):
    """Counts what it sends; the numbers on the wire stay those of a sender that knows of no fault."""

    harmed = False
    """By this process: a message is lost or late to the successor of its receiver no more."""

    def __init__(self, context: "zmq.Context[Any]", me: str, epoch: int, endpoint: str, bound: int) -> None:
        super().__init__(context, me, epoch, endpoint, bound)
        self._met = endpoint.rpartition("/")[2].startswith(RECEIVER)
        self._held: list[bytes] | None = None

    def send(self, message: Message) -> None:
        number = self._sequence
        if not self._met or number < FIRST:
            return super().send(message)
        frames = [channel._HEADER.pack(self._epoch, number), encode(message)]
        self._sequence += 1
        match HOW:
            case "twice":
                self._socket.send_multipart(frames)
                self._socket.send_multipart(frames)
            case "late":
                time.sleep(0.005)
                self._socket.send_multipart(frames)
            case "lost":
                if Faulty.harmed:
                    self._socket.send_multipart(frames)
                Faulty.harmed = True
            case "reordered":
                if not Faulty.harmed:
                    Faulty.harmed, self._held = True, frames
                    return None
                self._socket.send_multipart(frames)
                if self._held is not None:
                    self._socket.send_multipart(self._held)
                    self._held = None
        return None


def main(launch: Launch) -> None:
    peers = importlib.import_module("thespis.actors.peers")
    peers.Outgoing = Faulty  # type: ignore[attr-defined]
    importlib.import_module(PLAYED[launch.role]).main(launch)
