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

from ...protocol.channel import bind_inbox
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
    Share,
    Stats,
    Stop,
    ToControl,
)
from ...protocol.edges.view import Seen
from ...protocol.errors import EngineError
from ...protocol.wire import Decoder, WireError
from . import last_words
from .launch import Launch, settle
from .link import START_SECONDS
from .participant import Participant
from .peers import UnknownSenders

log = logging.getLogger(__name__)

NO_SOCKETS = (
    "The run directory takes no socket of {} now ({}): free some room there, or set TMPDIR to "
    "another folder."
)
RETRY_SECONDS = 1.0


class BaseActor(Participant):
    """Subclasses own the loop: they wait for `link.socket`, `control` and `inbox`, and pass on what
    comes by `hear...`."""

    control: "zmq.Socket[bytes]"
    """Hears of ended requests (`End`), which never wait behind data. From `open_inbox` on."""
    share: Share | None
    """Of admission, if this is a client. From `hello` on."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch.directory, launch.role, launch.epoch)
        self.launch = launch
        self._unknown = UnknownSenders(self.peers)
        self._control: Decoder[ToControl] = Decoder(ToControl)

    # to override

    def on_message(self, sender: str, message: Any) -> None:
        """A message of an edge; `sender` is the role."""

    def on_end(self, ids: tuple[str, ...]) -> None:
        """These requests are over: drop their state, keep a tombstone. Idempotent."""

    def on_peer(self, role: str, peer: Peer) -> None:
        """A new incarnation can be written to: send it again what it must know."""

    def on_reset(self, cache: Cache, number: int) -> None:
        """Nothing that is kept now is found by requests that come from now on; what requests in
        progress hold stays theirs. `number`: of the reset, higher than of any before."""

    def counters(self) -> dict[str, float]:
        """Counted since the start; names in snake_case, units in the name."""
        return {}

    def seen(self) -> Seen | None:
        """What is in hand, for who watches; called once or twice a second, or never."""
        return None

    # for the loop

    def hello(self) -> bytes:
        """Introduce this process and open its inboxes; returns its configuration. Raises SystemExit
        where it is refused."""
        welcome = self.link.hello(START_SECONDS)
        if isinstance(welcome, Refused):
            raise SystemExit(welcome.text)
        self.share = welcome.share
        self.link.start_heartbeats()
        self._open_when_possible()
        return welcome.config

    def open_inbox(self) -> None:
        super().open_inbox()
        try:
            self.control = bind_inbox(self.context, self.endpoint("ctl"))
        except (OSError, zmq.ZMQError):
            self.inbox.close(linger=0)
            raise

    def _open_when_possible(self) -> None:
        """Where the run directory takes no socket the director is told, which ends an engine that
        starts; in one that runs it is tried until there is room, since another process could do no
        better."""
        told = False
        while True:
            try:
                return self.open_inbox()
            except (OSError, zmq.ZMQError) as error:
                if not told:
                    text = NO_SOCKETS.format(self.role, os.strerror(error.errno or 0))
                    self.tell_fatal(EngineError(text))
                told = True
                time.sleep(RETRY_SECONDS)

    def tell_ready(self, notes: dict[str, int]) -> None:
        last_words.give_back()
        settle()
        control = self.endpoint("ctl")
        self.link.send(Ready(self.role, self.epoch, self.endpoint(), control, notes))

    def tell_fatal(self, error: Exception) -> None:
        """It cannot load. What is no EngineError goes to the log as well."""
        text = str(error)
        if not isinstance(error, EngineError):
            log.error("%s cannot load", self.role, exc_info=error)
            text = (
                f"The process {self.role} could not load "
                f"({': '.join(filter(None, (type(error).__name__, text)))})."
            )
        self.link.send(Fatal(self.role, self.epoch, text))

    def hear(self, frames: list[bytes]) -> None:
        """What came to the inbox."""
        received = self.incoming.accept(frames)
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
            case Gone(role, epoch):
                self._unknown.gone(role, epoch)
            case AskStats(wanted):
                dropped = {"messages_dropped": float(self.incoming.dropped)}
                seen = self.seen() if wanted else None
                self.link.send(Stats(self.role, self.epoch, dropped | self.counters(), seen))
            case Reset(number, cache):
                self.on_reset(cache, number)
                self.link.send(ResetDone(self.role, self.epoch, number))
        self.hear_of_others(message)
        return not isinstance(message, Stop)

    def on_peers(self, table: Peers, fresh: list[tuple[str, Peer]]) -> None:
        for role, peer in fresh:
            self.on_peer(role, peer)
        for received in self._unknown.introduced():
            self.on_message(received.sender, received.message)

    def close(self) -> None:
        self.control.close(linger=0)
        super().close()
