"""The clients of an engine: who is let in, what share each has, how one leaves."""

import logging
from collections.abc import Callable

from ...protocol.edges.control import Hello, Refused, Reshare, Share
from ...protocol.topology import CLIENT
from ...protocol.wire import Message
from .roster import ClientRecord, Roster, split_share
from .supervisor import Supervisor

log = logging.getLogger(__name__)

HANGS = "hangs: it does not take its messages"
NOT_READ = "This client did not read what the engine sent it, and was given up; connect again."


class Clients:
    """The only writer of `roster.clients`. `left` is called for each that is gone (role, epoch)."""

    def __init__(
        self,
        roster: Roster,
        supervisor: Supervisor,
        whole: Share,
        send: Callable[[ClientRecord, Message], None],
        left: Callable[[str, int], None],
    ) -> None:
        """`whole`: what all of them may hold together."""
        self._roster, self._supervisor, self._whole = roster, supervisor, whole
        self._send, self._left = send, left

    def find(self, role: str, epoch: int) -> ClientRecord | None:
        client = self._roster.clients.get(role)
        return client if client is not None and client.epoch == epoch else None

    @property
    def share(self) -> Share:
        """Of each."""
        return split_share(self._whole, len(self._roster.clients))

    def admit(self, hello: Hello, identity: bytes) -> Refused | None:
        """None: it is in, and the others have been told their new share."""
        if hello.role in self._roster.clients:
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
        self._roster.clients[hello.role] = client
        self._reshare(besides=hello.role)
        return None

    def leave(self, role: str, epoch: int, identity: bytes) -> None:
        """Of its own accord."""
        client = self.find(role, epoch)
        # Not the one whose name it was refused for.
        if client is not None and client.identity == identity:
            self._forget(role, client)

    def drained(self, role: str, epoch: int) -> None:
        """It accepts nothing new, and nothing of it is under way."""
        if (client := self.find(role, epoch)) is not None:
            client.drained = True
            self._supervisor.changed.set()

    def give_up(self, role: str, client: ClientRecord) -> None:
        """It does not read what it is sent: it is told, when it reads again. One in a process of
        ours is ended with that."""
        if (host := self._supervisor.host_of(client.pid)) is not None:
            self._supervisor.end_silent(host.role, host.epoch, HANGS)
            return
        log.warning("%s.%d %s and is given up", role, client.epoch, HANGS)
        self._send(client, Refused(NOT_READ))
        self._forget(role, client)

    def _forget(self, role: str, client: ClientRecord) -> None:
        self._supervisor.watcher.forget(client.watch)
        self._gone(role, client)

    def _gone(self, role: str, client: ClientRecord) -> None:
        if self._roster.clients.get(role) is not client:
            return
        del self._roster.clients[role]
        self._supervisor.bury(role, client.epoch)
        self._left(role, client.epoch)
        self._reshare()

    def _reshare(self, besides: str | None = None) -> None:
        for role, client in self._roster.clients.items():
            if role != besides:
                self._send(client, Reshare(self.share))
