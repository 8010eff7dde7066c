"""The clients of an engine: who is let in, what share each has, how one leaves. The HTTP server is
one that has not joined: the supervisor keeps it."""

import logging
from collections.abc import Callable

from ...protocol.edges.control import Hello, Refused, Reshare, Share
from ...protocol.topology import CLIENT
from ...protocol.wire import Message
from .roster import ClientRecord, Member, Roster, split_share
from .supervisor import Supervisor

log = logging.getLogger(__name__)

HANGS = "hangs: it does not take its messages"
NOT_READ = "This client did not read what the engine sent it, and was given up; connect again."


class Clients:
    """The only writer of `roster.joined`. `left` is called for each that is gone (role, epoch)."""

    def __init__(
        self,
        roster: Roster,
        supervisor: Supervisor,
        whole: Share,
        send: Callable[[Member | ClientRecord, Message], None],
        left: Callable[[str, int], None],
    ) -> None:
        """`whole`: what all of them may hold together."""
        self._roster, self._supervisor, self._whole = roster, supervisor, whole
        self._send, self._left = send, left

    def find(self, role: str, epoch: int) -> ClientRecord | None:
        """Of those that have joined."""
        client = self._roster.joined.get(role)
        return client if client is not None and client.epoch == epoch else None

    def admit(self, hello: Hello, identity: bytes) -> Refused | None:
        """None: it has joined."""
        if hello.role in self._roster.joined:
            return Refused(
                f"A client with the name {hello.role.removeprefix(f'{CLIENT}-')} is here already."
            )
        client = ClientRecord(hello.epoch, hello.pid, identity)
        try:
            client.watch = self._supervisor.watcher.watch(
                hello.pid, lambda pid, status: self._gone(hello.role, client), ours=False
            )
        except OSError as error:
            return Refused(
                f"The engine can take no other client now ({error.strerror}); try again."
            )
        self._roster.joined[hello.role] = client
        return None

    def leave(self, role: str, epoch: int, identity: bytes) -> None:
        """Of its own accord."""
        client = self.find(role, epoch)
        # Not the one whose name it was refused for.
        if client is not None and client.identity == identity:
            self._forget(role, client)

    def drained(self, role: str, epoch: int) -> None:
        """It accepts nothing new, and nothing of it is under way."""
        client = self._roster.clients.get(role)
        if client is not None and client.epoch == epoch:
            client.drained = True
            self._supervisor.changed.set()

    def give_up(self, role: str, client: ClientRecord) -> None:
        """It does not read what it is sent: it is told, when it reads again."""
        log.warning("%s.%d %s and is given up", role, client.epoch, HANGS)
        self._send(client, Refused(NOT_READ))
        self._forget(role, client)

    def _forget(self, role: str, client: ClientRecord) -> None:
        self._supervisor.watcher.forget(client.watch)
        self._gone(role, client)

    def _gone(self, role: str, client: ClientRecord) -> None:
        if self._roster.joined.get(role) is client:
            del self._roster.joined[role]
            self._supervisor.bury(role, client.epoch)
            self._left(role, client.epoch)

    def reshare(self, newcomer: str | None = None) -> Share:
        """One has come or gone: the others are told the share of each, which is returned."""
        clients = self._roster.clients
        share = split_share(self._whole, len(clients))
        for role, client in clients.items():
            if role != newcomer:
                self._send(client, Reshare(share))
        return share
