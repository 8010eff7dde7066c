"""What the two kinds of actor, `Actor` and `BlockingActor`, share: the hooks to override, and what
every message means.

Life: `Hello` -> `Welcome` with its configuration -> `on_start` -> `Ready` -> messages, until `Stop`
-> `on_stop`. A handler is a plain function: it changes the actor's state and sends messages. An
exception that leaves a handler ends the process and the director starts a new one: state that may
be wrong is never kept. What belongs to one request is caught by the actor and ends that request
alone.
"""

import logging
import os
import time
from typing import Any

import zmq

from ...protocol.edges.control import (
    AskStats,
    Cache,
    Fatal,
    Gone,
    Peer,
    Peers,
    Ready,
    Refused,
    Reset,
    ResetDone,
    Stats,
    Stop,
    ToControl,
)
from ...protocol.errors import EngineError
from ...protocol.wire import Decoder, Message, WireError
from . import last_words
from .launch import Launch
from .link import START_SECONDS, DirectorLink
from .peers import Inboxes, PeerTable, UnknownSenders
from .settling import settle

log = logging.getLogger(__name__)

NO_SOCKETS = (
    "The run directory takes no socket of {} now ({}): free some room there, or set TMPDIR to "
    "another folder."
)
RETRY_SECONDS = 1.0


class BaseActor:
    """Subclasses own the loop: they wait for the sockets of `link` and `inboxes` and pass on what
    comes by `hear...`."""

    inboxes: Inboxes
    """From `hello` on."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.context: zmq.Context[Any] = zmq.Context()
        self.link = DirectorLink(self.context, launch.run_dir, launch.role, launch.epoch)
        self.peers = PeerTable(self.context, launch.role, launch.epoch, self.link.send)
        self._unknown = UnknownSenders(self.peers)
        self._control: Decoder[ToControl] = Decoder(ToControl)

    # to override

    def on_message(self, sender: str, message: Any) -> None:
        """A message of an edge; `sender` is the role."""

    def on_end(self, ids: tuple[str, ...]) -> None:
        """These requests are over: drop their state, keep a tombstone. Idempotent."""

    def on_peer(self, role: str, peer: Peer) -> None:
        """A new incarnation can be written to: send it again what it must know."""

    def on_gone(self, gone: Gone) -> None:
        """An incarnation is dead and reaped: its leases end."""

    def on_reset(self, cache: Cache) -> None:
        """Nothing that is kept now is found by requests that come from now on; what requests in
        progress hold stays theirs."""

    def counters(self) -> dict[str, float]:
        """Counted since the start; names in snake_case, units in the name."""
        return {}

    # to use

    def send(self, role: str, message: Message, after: int = -1) -> bool:
        """See `PeerTable.send`."""
        return self.peers.send(role, message, after)

    # for the loop

    def hello(self) -> bytes:
        """Introduce this process and open its inboxes; returns its configuration. Raises SystemExit
        where it is refused."""
        welcome = self.link.hello(START_SECONDS)
        if isinstance(welcome, Refused):
            raise SystemExit(welcome.text)
        self.link.start_heartbeats()
        self.inboxes = self._open_inboxes()
        return welcome.config

    def _open_inboxes(self) -> Inboxes:
        """Where the run directory takes no socket the director is told, which ends an engine that
        starts; in one that runs it is tried until there is room, since another process could do no
        better."""
        launch, told = self.launch, False
        while True:
            try:
                return Inboxes(self.context, launch.directory, launch.role, launch.epoch)
            except (OSError, zmq.ZMQError) as error:
                if not told:
                    self.tell_fatal(
                        EngineError(NO_SOCKETS.format(launch.role, os.strerror(error.errno or 0)))
                    )
                told = True
                time.sleep(RETRY_SECONDS)

    def tell_ready(self, notes: dict[str, int]) -> None:
        launch, inboxes = self.launch, self.inboxes
        last_words.give_back()
        settle()
        self.link.send(
            Ready(
                launch.role, launch.epoch, inboxes.inbox_endpoint, inboxes.control_endpoint, notes
            )
        )

    def tell_fatal(self, error: Exception) -> None:
        """It cannot load. What is no EngineError goes to the log as well."""
        text = str(error)
        if not isinstance(error, EngineError):
            log.error("%s cannot load", self.launch.role, exc_info=error)
            text = (
                f"The process {self.launch.role} could not load "
                f"({': '.join(filter(None, (type(error).__name__, text)))})."
            )
        self.link.send(Fatal(self.launch.role, self.launch.epoch, text))

    def hear(self, frames: list[bytes]) -> None:
        """What came to the inbox."""
        received = self.inboxes.incoming.accept(frames)
        if received is not None and not self._unknown.keep(received):
            self.on_message(received.sender, received.message)

    def hear_control(self, frames: list[bytes]) -> None:
        """What came to the control socket; what is no message is dropped."""
        try:
            message = self._control.decode(frames[-1])
        except WireError:
            return
        self.on_end(message.ids)

    def hear_director(self, message: Any) -> bool:
        """False at `Stop`."""
        match message:
            case Peers() as table:
                for role, peer in self.peers.update(table):
                    self.on_peer(role, peer)
                for received in self._unknown.introduced():
                    self.on_message(received.sender, received.message)
            case Gone(role, epoch) as gone:
                self.inboxes.incoming.fence(role, epoch)
                self._unknown.gone(role, epoch)
                self.peers.gone(gone)
                self.on_gone(gone)
            case AskStats():
                dropped = {"messages_dropped": float(self.inboxes.incoming.dropped)}
                self.link.send(
                    Stats(self.launch.role, self.launch.epoch, dropped | self.counters())
                )
            case Reset(number, cache):
                self.on_reset(cache)
                self.link.send(ResetDone(self.launch.role, self.launch.epoch, number))
            case Stop():
                return False
        return True

    def close(self) -> None:
        self.inboxes.close()
        self.peers.close()
        self.link.close()
        self.context.term()
