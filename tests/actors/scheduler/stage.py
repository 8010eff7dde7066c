"""The scheduler's actor and a fake runner on real sockets, in threads; the test plays the director
and everybody else."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import zmq

from thespis.actors.kernel.launch import Launch, director_endpoint
from thespis.actors.scheduler import actor as scheduler_actor
from thespis.protocol.channel import Incoming, Outgoing, bind_inbox, socket_path
from thespis.protocol.config.roles import RoleConfig, encode_config
from thespis.protocol.edges.control import (
    AskStats,
    End,
    Gone,
    Hello,
    Peer,
    Peers,
    Ready,
    Stats,
    Stop,
    ToDirector,
    Welcome,
)
from thespis.protocol.wire import Decoder, Message, WireError, encode

SECONDS = 10.0


class Stage:
    """Threads run `main(launch)`; roles named in `played` have an inbox here."""

    def __init__(
        self, run_dir: Path, configs: dict[str, RoleConfig], played: tuple[str, ...]
    ) -> None:
        self.run_dir, self.configs = run_dir, configs
        self.context: zmq.Context[Any] = zmq.Context()
        self._director = self.context.socket(zmq.ROUTER)
        self._director.bind(director_endpoint(run_dir))
        self._decoder: Decoder[Any] = Decoder(ToDirector)
        self.peers: dict[str, Peer] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._names: dict[str, bytes] = {}
        self._stats: dict[str, Stats] = {}
        self._inboxes: dict[str, Any] = {}
        self._incoming: dict[str, Incoming] = {}
        self._outgoing: dict[tuple[str, str], Outgoing] = {}
        self.heard: dict[str, list[Any]] = {role: [] for role in played}
        for role in played:
            self.bind(role, 1)

    def bind(self, role: str, epoch: int) -> None:
        """This role begins (again), played by the test."""
        if role in self._inboxes:
            self._inboxes.pop(role).close(linger=0)
        endpoint = socket_path(self.run_dir, role, epoch)
        self._inboxes[role] = bind_inbox(self.context, endpoint)
        self._incoming[role] = Incoming(role)
        self.heard[role] = []
        self.peers[role] = Peer(epoch, 0, endpoint, "")

    def start(self, role: str, main: Callable[[Launch], None], epoch: int = 1) -> None:
        launch = Launch(role, epoch, str(self.run_dir), "")
        self._threads[role] = threading.Thread(target=main, args=(launch,), name=role)
        self._threads[role].start()
        self.until(lambda: role in self.peers and self.peers[role].epoch == epoch)

    def stop(self, role: str) -> None:
        self.tell(role, Stop())
        self._threads.pop(role).join(SECONDS)

    def gone(self, role: str) -> None:
        """A role has died: everybody is told."""
        peer = self.peers.pop(role)
        for one in self._threads:
            self.tell(one, Gone(role, peer.epoch))

    def tell(self, role: str, message: Message) -> None:
        self._director.send_multipart([self._names[role], encode(message)])

    def tell_peers(self) -> None:
        for role in self._threads:
            self.tell(role, Peers(dict(self.peers)))

    def send(self, sender: str, message: Message, receiver: str = "scheduler") -> None:
        edge = sender, receiver
        if edge not in self._outgoing:
            self._outgoing[edge] = Outgoing(
                self.context, sender, 1, self.peers[receiver].inbox, 1000
            )
        self._outgoing[edge].send(message)

    def end(self, role: str, id: str) -> None:
        """A request is over, as a client says to an actor's control socket."""
        edge = "client-a", f"{role}'s control"
        if edge not in self._outgoing:
            self._outgoing[edge] = Outgoing(
                self.context, "client-a", 1, self.peers[role].control, 1000
            )
        self._outgoing[edge].send(End((id,)))

    def counters(self, role: str) -> dict[str, float]:
        self._stats.pop(role, None)
        self.tell(role, AskStats())
        self.until(lambda: role in self._stats)
        return self._stats[role].counters

    def until(self, done: Callable[[], bool]) -> None:
        """Hear everybody until `done`."""
        deadline = time.monotonic() + SECONDS
        poller = zmq.Poller()
        for socket in (self._director, *self._inboxes.values()):
            poller.register(socket, zmq.POLLIN)
        while not done():
            assert time.monotonic() < deadline, f"it did not come; heard: {self.heard}"
            waiting = dict(poller.poll(100))
            if self._director in waiting:
                self._hear_link(self._director.recv_multipart())
            for role, inbox in self._inboxes.items():
                if inbox in waiting:
                    received = self._incoming[role].accept(inbox.recv_multipart())
                    assert received is not None
                    self.heard[role].append(received.message)

    def _hear_link(self, frames: list[bytes]) -> None:
        try:
            message = self._decoder.decode(frames[-1])
        except WireError as error:
            raise AssertionError("a message that the director does not know") from error
        match message:
            case Hello(role, epoch):
                self._names[role] = frames[0]
                self.tell(role, Welcome(encode_config(self.configs[role])))
            case Ready(role, epoch, inbox, control, notes):
                self.peers[role] = Peer(epoch, 0, inbox, control, notes)
                self.tell_peers()
            case Stats(role):
                self._stats[role] = message

    def __enter__(self) -> Self:
        self.start("scheduler", scheduler_actor.main)
        return self

    def __exit__(self, *_: object) -> None:
        for role in tuple(self._threads):
            self.stop(role)
        for outgoing in self._outgoing.values():
            outgoing.close()
        for socket in (self._director, *self._inboxes.values()):
            socket.close(linger=0)
        self.context.term()
