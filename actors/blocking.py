"""The shell of actors that compute: plain blocking zmq, no event loop (a hop is 0.1-0.2 ms shorter)."""

import logging
from typing import Any

import zmq

from ..protocol.edges.control import AskStats, End, Fatal, FromDirector, Gone, Peer, Peers, Ready, Refused, Stats, Stop
from ..protocol.errors import EngineError
from ..protocol.wire import Decoder, Message, WireError
from .launch import Launch
from .link import DirectorLink
from .peers import Doors, PeerTable, Strangers

log = logging.getLogger(__name__)


class BlockingActor:
    """Like `Actor`, for a process that does one thing at a time: handlers may compute for long, tasks there are none."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.context: zmq.Context[Any] = zmq.Context()
        self.link = DirectorLink(self.context, launch.run_dir, launch.role, launch.epoch)
        self.peers = PeerTable(self.context, launch.role, launch.epoch, self.link.send)
        self._strangers = Strangers(self.peers)
        self._control: Decoder[Any] = Decoder(FromDirector)

    def on_start(self, config: bytes) -> dict[str, int]:
        """Load what is needed; the answer goes into `Ready.notes`. Raise EngineError for a text the user should see."""
        return {}

    def on_stop(self) -> None:
        """Release what the process holds."""

    def on_message(self, sender: str, message: Any) -> None:
        """A message of an edge; `sender` is the role."""

    def on_end(self, ids: tuple[str, ...]) -> None:
        """These requests are over: drop their state. Idempotent."""

    def on_peer(self, role: str, peer: Peer) -> None:
        """A new incarnation can be written to."""

    def on_gone(self, role: str, epoch: int) -> None:
        """An incarnation is dead and reaped."""

    def counters(self) -> dict[str, float]:
        """Counted since the start."""
        return {}

    def send(self, role: str, message: Message) -> bool:
        return self.peers.send(role, message)

    def run(self) -> None:
        welcome = self.link.hello()
        if isinstance(welcome, Refused):
            raise SystemExit(welcome.text)
        self.link.start_heartbeats()
        doors = self._doors = Doors(self.context, self.launch)
        launch = self.launch
        try:
            try:
                notes = self.on_start(welcome.config)
            except EngineError as error:
                self.link.send(Fatal(launch.role, launch.epoch, str(error)))
                raise SystemExit(1) from None
            self.link.send(Ready(launch.role, launch.epoch, doors.inbox_endpoint, doors.control_endpoint, notes))
            self._serve(doors)
        finally:
            self.on_stop()
            doors.close()
            self.peers.close()
            self.link.close()
            self.context.term()

    def _serve(self, doors: Doors) -> None:
        poller = zmq.Poller()
        for socket in (self.link.socket, doors.control, doors.inbox):
            poller.register(socket, zmq.POLLIN)
        while True:
            waiting = dict(poller.poll())
            if self.link.socket in waiting and not self._hear_director():
                return
            if doors.control in waiting:
                self._hear_control(doors.control.recv_multipart())
            if doors.inbox in waiting:  # one at a time: control comes first
                received = doors.incoming.accept(doors.inbox.recv_multipart())
                if received is not None and not self._strangers.keep(received):
                    self.on_message(received.sender, received.message)

    def _hear_control(self, frames: list[bytes]) -> None:
        try:
            message = self._control.decode(frames[-1])
        except WireError:
            return
        if isinstance(message, End):
            self.on_end(message.ids)

    def _hear_director(self) -> bool:
        """False at Stop."""
        match self.link.receive():
            case Peers() as table:
                for role, peer in self.peers.update(table):
                    self.on_peer(role, peer)
                for received in self._strangers.introduced():
                    self.on_message(received.sender, received.message)
            case Gone(role, epoch) as gone:
                self._doors.incoming.fence(role, epoch)
                self._strangers.gone(role, epoch)
                self.peers.gone(gone)
                self.on_gone(role, epoch)
            case AskStats():
                self.link.send(Stats(self.launch.role, self.launch.epoch, self.counters()))
            case End(ids):
                self.on_end(ids)
            case Stop():
                return False
        return True
