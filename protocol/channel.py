"""The edges as sockets: one DEALER per outgoing edge, one ROUTER inbox per process.

Every edge is one-way. A frame of (sender epoch, sequence number) goes before the message. Each
incarnation of a process binds paths with its epoch in them, so what was queued for a dead peer can
never reach its successor; the sender closes the edge when the director says `Gone` and sends again
from its own state.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import zmq

from .topology import CLIENT, Edge, edges_to, kind_of
from .wire import Decoder, Message, WireError, encode

_HEADER = struct.Struct(">QQ")
_NOW, _NOW_IN_PART = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
_EVENTS, _POLLIN, _MORE = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.RCVMORE)
# Numbers: pyzmq's enums, and its own loops over parts, take longer than the calls themselves.
MAX_PATH = 107
"""Bytes in a Unix socket's path."""
MAX_FENCED = 16384
"""Roles; actors are few, but clients come and go."""


class ChannelFull(Exception):
    """An edge has reached its bound: a fault of its reader, never waited on."""


class Gap(Exception):
    """Messages of an edge are missing; its state must be sent whole again."""


class Received(NamedTuple):
    sender: str
    epoch: int
    message: Any


def socket_path(run_dir: Path, role: str, epoch: int, suffix: str = "sock") -> str:
    """Of one incarnation. Raises ValueError where the path is too long for the system."""
    path = f"{run_dir}/{role}.{epoch}.{suffix}"
    if len(os.fsencode(path)) > MAX_PATH:
        raise ValueError(
            f"the run directory's path is too long: {len(path)} > {MAX_PATH} bytes with the "
            f"socket's name"
        )
    return f"ipc://{path}"


class Outgoing:
    """The sending end of one edge to one incarnation of a peer. `send` never blocks."""

    def __init__(
        self, context: "zmq.Context[Any]", me: str, epoch: int, endpoint: str, bound: int
    ) -> None:
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, f"{me}.{epoch}".encode())
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, bound)
        self._socket.connect(endpoint)
        self._epoch = epoch
        self._sequence = 0

    def send(self, message: Message) -> None:
        """Raises ChannelFull at the edge's bound."""
        # before the header is sent: one without its body would begin the next message
        body = encode(message)
        try:
            self._socket.send(_HEADER.pack(self._epoch, self._sequence), _NOW_IN_PART)
            self._socket.send(body, _NOW)
        except zmq.Again as error:
            raise ChannelFull(type(message).__name__) from error
        self._sequence += 1

    def flush(self, milliseconds: int) -> None:
        """Close, but give what was sent this long to leave."""
        self._socket.close(linger=milliseconds)

    def close(self) -> None:
        self._socket.close(linger=0)


def waits(socket: "zmq.Socket[bytes]") -> bool:
    """Whether a message can be taken: an empty recv raises, which costs more than to ask."""
    return bool(socket.getsockopt(_EVENTS) & _POLLIN)  # type: ignore[operator]


def take(socket: "zmq.Socket[bytes]") -> list[bytes] | None:
    """The frames of the next message, None where none waits."""
    if not waits(socket):
        return None
    frames = [socket.recv(_NOW)]
    while socket.getsockopt(_MORE):
        frames.append(socket.recv(_NOW))
    return frames


def bind_inbox(context: "zmq.Context[Any]", endpoint: str) -> "zmq.Socket[bytes]":
    """A ROUTER bound to `endpoint`. Raises OSError or ZMQError, and leaves no socket then."""
    path = endpoint.removeprefix("ipc://")
    if os.path.exists(path):
        raise FileExistsError(
            f"a socket of this incarnation exists already: {os.path.basename(path)}"
        )
    socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, 0)  # unlimited: the sender keeps the bound
    try:
        socket.bind(endpoint)
    except zmq.ZMQError:
        socket.close()
        raise
    return socket


@dataclass(slots=True)
class _Sender:
    """One incarnation that has written to this inbox."""

    role: str
    epoch: int
    decoder: Decoder[Any]
    expected: int = 0
    """The number of its next message."""


class Incoming:
    """What arrives at one process's inbox: decodes by edge, drops the dead, notices gaps."""

    def __init__(self, me: str, edges: dict[str, Edge] | None = None) -> None:
        table = edges_to(me) if edges is None else edges
        self._decoders: dict[str, Decoder[Any]] = {
            kind: Decoder(edge.union) for kind, edge in table.items()
        }
        self._senders: dict[bytes, _Sender] = {}
        """By zmq identity; the living ones."""
        self._fenced: dict[str, int] = {}
        """Of clients only the last to go: what others may have sent has arrived long ago."""
        self.dropped = 0
        """Messages of dead or unknown senders, and those that were no message of their edge."""

    def fence(self, role: str, epoch: int) -> None:
        """Nothing of this incarnation of `role`, or an older one, is heard any more."""
        self._fenced[role] = max(epoch, self._fenced.pop(role, -1))
        if len(self._fenced) > MAX_FENCED:
            del self._fenced[next(known for known in self._fenced if kind_of(known) == CLIENT)]
        self._senders = {
            id: one for id, one in self._senders.items() if one.role != role or one.epoch > epoch
        }

    def skip_to(self, frames: list[bytes]) -> None:
        """After a Gap: go on with `frames`; the sender tells anew what the lost were about."""
        epoch, sequence = _HEADER.unpack(frames[1])
        sender = self._sender(frames[0], epoch)
        if sender is not None:
            sender.expected = sequence

    def accept(self, frames: list[bytes]) -> Received | None:
        """The message in `frames`, or None where it must be dropped. Raises Gap."""
        if len(frames) != 3 or len(frames[1]) != _HEADER.size:
            self.dropped += 1
            return None
        epoch, sequence = _HEADER.unpack(frames[1])
        sender = self._sender(frames[0], epoch)
        if sender is None or sequence < sender.expected:
            self.dropped += 1
            return None
        if sequence > sender.expected:
            raise Gap(f"{sender.role}.{epoch}: expected message {sender.expected}, got {sequence}")
        sender.expected += 1
        try:
            return Received(sender.role, epoch, sender.decoder.decode(frames[2]))
        except WireError:
            self.dropped += 1
            return None

    def _sender(self, identity: bytes, epoch: int) -> _Sender | None:
        """None for one that is fenced, or that no edge comes from."""
        known = self._senders.get(identity)
        if known is not None and known.epoch == epoch:
            return known
        role, _, _ = identity.decode("utf-8", "replace").rpartition(".")
        decoder = self._decoders.get(kind_of(role))
        if decoder is None or epoch <= self._fenced.get(role, -1):
            return None
        self._senders[identity] = sender = _Sender(role, epoch, decoder)
        return sender
