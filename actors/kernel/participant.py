"""A process among the others: its link to the director, inbox, edges. Knows no request."""

from pathlib import Path
from typing import Any

import zmq

from ...protocol.channel import Incoming, bind_inbox, socket_path
from ...protocol.edges.control import Gone, Peer, Peers
from ...protocol.wire import Message
from .link import DirectorLink
from .peers import PeerTable


class Participant:
    """What actors and clients have in common. Whoever owns the loop passes on what comes."""

    inbox: "zmq.Socket[bytes]"
    """From `open_inbox` on."""

    def __init__(self, run_dir: Path, role: str, epoch: int) -> None:
        self.run_dir, self.role, self.epoch = run_dir, role, epoch
        self.context: zmq.Context[Any] = zmq.Context()
        self.link = DirectorLink(self.context, str(run_dir), role, epoch)
        self.peers = PeerTable(self.context, role, epoch, self.link.send)
        self.incoming = Incoming(role)

    def on_peers(self, table: Peers, fresh: list[tuple[str, Peer]]) -> None:
        """Who is there now. `fresh`: the new incarnations that this process writes to."""

    def on_gone(self, gone: Gone) -> None:
        """An incarnation is dead and reaped: its leases end. Its edges are closed."""

    def send(self, name: str, message: Message, after: int = -1) -> bool:
        """See `PeerTable.send`."""
        return self.peers.send(name, message, after)

    def open_inbox(self) -> None:
        """Raises OSError or ZMQError where the run directory takes no socket."""
        self.inbox = bind_inbox(self.context, self.endpoint())

    def endpoint(self, suffix: str = "sock") -> str:
        """Of a socket that this incarnation binds."""
        return socket_path(self.run_dir, self.role, self.epoch, suffix)

    def hear_of_others(self, message: Any) -> None:
        """What the director said, if it is about them."""
        match message:
            case Peers():
                self.on_peers(message, self.peers.update(message))
            case Gone(role, epoch):
                self.incoming.fence(role, epoch)
                self.peers.gone(message)
                self.on_gone(message)

    def close(self) -> None:
        self.inbox.close(linger=0)
        self.peers.close()
        self.link.close()
        self.context.term()
