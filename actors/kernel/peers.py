"""The outgoing edges of one process, kept in step with the director's table."""

import logging
from collections.abc import Callable
from typing import Any

import zmq

from ...protocol.channel import ChannelFull, Outgoing, Received
from ...protocol.edges.control import Gone, Peer, Peers, Stalled
from ...protocol.topology import CLIENT, edges_from, kind_of, name_of
from ...protocol.wire import Message
from .tombstones import Tombstones

log = logging.getLogger(__name__)
LINGER_MS = 500
"""How long messages sent just before the end of this process may take to leave."""
MAX_EARLY = 4096
"""Messages kept for one client that is not known yet."""


class PeerTable:
    """Who can be written to. `update` connects new incarnations, `gone` closes dead ones.

    A full edge is its reader's fault: it is closed at once, `report` tells the director, and what
    follows is what follows a death. Admission keeps far below every bound, so only a process that
    hangs, or is stopped, lets its edge fill.
    """

    def __init__(
        self, context: "zmq.Context[Any]", role: str, epoch: int, report: Callable[[Stalled], None]
    ) -> None:
        self._context = context
        self._role, self._epoch = role, epoch
        self._edges = edges_from(role)
        self._open: dict[str, tuple[Peer, Outgoing]] = {}
        """By name, as all that follows: see `name_of`."""
        self._early: dict[str, list[Message]] = {}
        """For clients whose request overtook their introduction."""
        self._departed = Tombstones()
        """Clients."""
        self._missed: set[str] = set()
        """Those that are gone and for which something was meant since: the log says so once."""
        self._report = report
        self._stalled: dict[str, int] = {}
        """Epochs of those whose edge was full."""

    def update(self, table: Peers) -> list[tuple[str, Peer]]:
        """Connect to every peer that this process writes to; returns the new incarnations."""
        fresh: list[tuple[str, Peer]] = []
        for role, peer in table.peers.items():
            name = name_of(role, peer.epoch)
            if self._is_stalled(name, peer.epoch):
                continue
            self._departed.discard(name)  # another one under its name
            edge = self._edges.get(kind_of(role))
            known = self._open.get(name)
            if edge is None or (known is not None and known[0].epoch >= peer.epoch):
                continue
            if known is not None:
                known[1].close()
            self._missed.discard(name)
            outgoing = Outgoing(self._context, self._role, self._epoch, peer.inbox, edge.bound)
            self._open[name] = peer, outgoing
            for message in self._early.pop(name, ()):
                self.send(name, message)
            fresh.append((role, peer))
        return fresh

    def gone(self, message: Gone) -> None:
        """Close the edge to a dead incarnation; that to a newer one stays."""
        name = name_of(message.role, message.epoch)
        if kind_of(name) == CLIENT:
            self._missed.discard(name)
            self._departed.add((name,))
            self._early.pop(name, None)
        if self._is_stalled(name, message.epoch):
            del self._stalled[name]
        known = self._open.get(name)
        if known is not None and known[0].epoch <= message.epoch:
            known[1].close()
            del self._open[name]

    def send(self, name: str, message: Message, after: int = -1) -> bool:
        """False where `name` is not there now: whoever waits is told by `Gone` and sends again from
        its own state.

        `after`: an epoch of it that is dead, though the news of it may not have come here yet.
        """
        known = self._open.get(name)
        if known is not None and known[0].epoch <= after:
            return False
        if known is None and kind_of(name) == CLIENT and name not in self._departed:
            early = self._early.setdefault(name, [])
            if len(early) < MAX_EARLY:
                early.append(message)
                return True
        if known is None:
            self._miss(name, message)
            return False
        try:
            known[1].send(message)
        except ChannelFull:
            self._give_up(name)
            return False
        return True

    def _miss(self, name: str, message: Message) -> None:
        if name not in self._missed and name not in self._departed:
            self._missed.add(name)
            kind = type(message).__name__
            log.info("no %s to send %s to, nor what follows until there is one", name, kind)

    def departed(self, name: str) -> bool:
        """Whether this client is gone, not only unknown: what is for it is for nobody."""
        return name in self._departed

    def _give_up(self, name: str) -> None:
        peer, outgoing = self._open.pop(name)
        stalled = Stalled(name.removesuffix(f".{peer.epoch}"), peer.epoch)
        log.error("%s does not take its messages: the edge to it is full", stalled.incarnation)
        outgoing.close()
        self._stalled[name] = peer.epoch
        if kind_of(name) == CLIENT:
            self._departed.add((name,))
        self._report(stalled)

    def _is_stalled(self, name: str, epoch: int) -> bool:
        return self._stalled.get(name, -1) >= epoch

    def epoch_of(self, role: str) -> int:
        """0: it is not there."""
        known = self._open.get(role)
        return 0 if known is None else known[0].epoch

    def could_answer(self, role: str, epoch: int) -> bool:
        """Whether this incarnation can be written to, or never is."""
        name = name_of(role, epoch)
        known = self._open.get(name)
        there = known is not None and known[0].epoch >= epoch
        return there or kind_of(role) not in self._edges or self._is_stalled(name, epoch)

    def __contains__(self, name: str) -> bool:
        return name in self._open

    def close(self, linger_ms: int = LINGER_MS) -> None:
        for _, outgoing in self._open.values():
            outgoing.flush(linger_ms)
        self._open.clear()


class UnknownSenders:
    """Messages that overtook the director's introduction of their sender. They wait for it: an
    answer that cannot be sent would leave a request hanging."""

    def __init__(self, peers: PeerTable) -> None:
        self._peers = peers
        self._waiting: list[Received] = []

    def keep(self, received: Received) -> bool:
        """True: its sender is not known yet, and it waits here. False: handle it now."""
        if self._peers.could_answer(received.sender, received.epoch):
            return False
        self._waiting.append(received)
        return True

    def introduced(self) -> list[Received]:
        """What can be handled now, in the order in which it came."""
        waiting, self._waiting = self._waiting, []
        return [received for received in waiting if not self.keep(received)]

    def gone(self, role: str, epoch: int) -> None:
        """It died before it was introduced."""
        self._waiting = [r for r in self._waiting if r.sender != role or r.epoch > epoch]
