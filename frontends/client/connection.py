"""A client's sockets: its link to the director, its inbox, and its edges to the actors. No request
is known here."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
import zmq

from ...actors.kernel.link import DirectorLink
from ...actors.kernel.peers import Inboxes, PeerTable
from ...actors.kernel.tombstones import Tombstones
from ...protocol.channel import ChannelFull, Gap, Outgoing, take
from ...protocol.config.roles import ClientConfig
from ...protocol.edges.control import End, Gone, Leave, Peers, Ready, Refused, Share, Stalled
from ...protocol.errors import EngineError
from ...protocol.topology import CLIENT, kind_of
from ...protocol.wire import Message

log = logging.getLogger(__name__)

ANSWER_SECONDS = 30.0
"""Within which an engine that works answers a question."""
NEEDED = ("fetcher", "preprocessor", "scheduler", "detokenizer")
"""The actors that must be there for a client to join."""
INBOX_BATCH = 256
"""Messages that are taken in one turn of the loop; then its other tasks get theirs."""
CONTROL_BOUND = 65536
"""Messages that may wait for an actor's control socket; one that leaves more has stalled, and is
replaced."""
FLUSH_MS = 500
"""What the last words to the actors may take when a client leaves."""
ENDED_AT = (*NEEDED, "encoder-cache")
"""The actors that keep something by request id. The runner hears of an end from the scheduler."""


class Listener(Protocol):
    """Who hears what comes over a connection."""

    def on_message(self, message: Any) -> None:
        """From an actor."""

    def on_director(self, message: Any) -> None:
        """From the director; `Gone` only after the edge has been closed."""

    def on_peers(self) -> None:
        """A process has become ready."""

    def on_director_lost(self) -> None:
        """It has ended, and with it the engine."""

    def on_gap(self) -> None:
        """Messages of a living actor are missing."""


class Connection:
    """Joins one engine as `client-<name>`."""

    def __init__(self, run_dir: Path, name: str) -> None:
        self.role = f"client-{name}"
        self._run_dir = run_dir
        self._director = _open_director(
            run_dir
        )  # first of all: where there is none, no socket is left open
        self._context: zmq.Context[Any] = zmq.Context()
        self._link = DirectorLink(self._context, str(run_dir), self.role, 0)
        self._peers = PeerTable(self._context, self.role, 0, self.ask)
        self._controls: dict[str, Outgoing] = {}
        self._present: dict[str, int] = {}
        """Epochs of the processes that are there."""
        self._dead: dict[str, int] = {}
        """By role of an actor, the last epoch known to have ended."""
        self._over = Tombstones()
        """Requests of which an actor that comes now may still be told by one that has not heard of
        their end."""
        self._here = asyncio.Event()
        self._left = False
        """Its sockets belong to the thread that closes them."""

    async def greet(self) -> tuple[ClientConfig, Share]:
        """Say Hello; what the director answers. Raises EngineError where it refuses, TimeoutError
        where none answers."""
        hello = asyncio.ensure_future(asyncio.to_thread(self._link.hello))
        try:
            welcome = await asyncio.shield(hello)
            if isinstance(welcome, Refused):
                raise EngineError(welcome.text)
            self._doors = Inboxes(self._context, self._run_dir, self.role, 0)
        except (
            BaseException
        ):  # the director may count this client as there, or will when it answers at last
            await asyncio.wait([hello])  # its thread uses the link
            os.close(self._director)
            self._link.send(Leave(self.role, 0))
            await asyncio.to_thread(self._context.destroy, FLUSH_MS)
            raise
        assert welcome.share is not None
        return msgspec.json.decode(welcome.config, type=ClientConfig), welcome.share

    async def join(self, listener: Listener, patience: float | None) -> None:
        """After `greet`: listen, and wait at most `patience` seconds for every actor. Raises
        TimeoutError, having left."""
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._link.start_heartbeats()
        for socket, drain in (
            (self._doors.inbox, self._drain_inbox),
            (self._link.socket, self._drain_link),
        ):
            self._loop.add_reader(socket.FD, drain)
            self._loop.call_soon(drain)
        self._loop.add_reader(self._director, self._lose_director)
        self._link.send(
            Ready(self.role, 0, self._doors.inbox_endpoint, self._doors.control_endpoint)
        )
        try:
            async with asyncio.timeout(patience):
                await self._here.wait()
        except BaseException:
            await self.leave(in_order=True)
            raise

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Around the wait for an answer. Raises EngineError where none comes within
        `ANSWER_SECONDS`."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                yield
        except TimeoutError:
            raise self.no_answer() from None

    def no_answer(self) -> EngineError:
        """For the person who runs the engine: it names the run directory."""
        return EngineError(
            f"The engine in {self._run_dir} did not answer within {ANSWER_SECONDS:g} s; see "
            f"engine.log there."
        )

    def present(self, roles: Iterable[str]) -> bool:
        """Whether all of these are ready now."""
        return all(role in self._present for role in roles)

    def dead(self, role: str) -> int:
        """The last epoch of `role` that has ended, as far as is known here; 0: none."""
        return self._dead.get(role, 0)

    @property
    def others(self) -> bool:
        """Whether other clients are in the engine."""
        return any(kind_of(role) == CLIENT and role != self.role for role in self._present)

    def send(self, role: str, message: Message) -> bool:
        """Returns False if `role` is not there now."""
        return self._peers.send(role, message)

    def ask(self, message: Message) -> None:
        """To the director."""
        self._link.send(message)
        self._loop.call_soon(self._drain_link)  # a send can swallow the socket's readiness

    def end(self, ids: tuple[str, ...]) -> None:
        """Tell every actor that these requests are over, and every successor of one."""
        self._over.add(ids)
        for role in list(self._controls):
            self._tell(role, ids)

    def _tell(self, role: str, ids: tuple[str, ...]) -> None:
        try:
            self._controls[role].send(End(ids))
        except ChannelFull:
            self._controls.pop(role).close()
            self.ask(Stalled(role, self._present.get(role, 0)))

    async def leave(self, in_order: bool) -> None:
        """Close everything; `in_order`: the director still runs and is told."""
        for fd in (self._doors.inbox.FD, self._link.socket.FD, self._director):
            self._loop.remove_reader(fd)
        os.close(self._director)
        self._left = True
        if in_order:
            self._link.send(Leave(self.role, 0))
        try:
            await asyncio.to_thread(self._close_sockets)
        # the interpreter is ending: threads take no more work, and nothing else waits for this one
        except RuntimeError:
            self._close_sockets()

    def _close_sockets(self) -> None:
        for control in self._controls.values():
            control.flush(FLUSH_MS)
        self._peers.close()
        self._doors.close()
        self._link.close()
        self._context.term()

    def _drain_inbox(self) -> None:
        if self._left:
            return
        for _ in range(INBOX_BATCH):
            frames = take(self._doors.inbox)
            if frames is None:
                return
            # The director's news first, as in the actors: what is told because of a death is of an
            # attempt that ended with it.
            self._drain_link()
            try:
                received = self._doors.incoming.accept(frames)
            except Gap as gap:
                log.warning(
                    "messages are missing, %s: what they were about is asked for again", gap
                )
                self._doors.incoming.skip_to(frames)
                self._listener.on_gap()
                received = self._doors.incoming.accept(frames)
            if received is not None:
                self._listener.on_message(received.message)
        self._loop.call_soon(self._drain_inbox)

    def _drain_link(self) -> None:
        if self._left:
            return
        while (message := self._link.receive()) is not None:
            match message:
                case Peers() as table:
                    self._update(table)
                case Gone(role, epoch) as gone:
                    self._doors.incoming.fence(role, epoch)
                    self._note_dead(role, epoch)
                    if self._present.get(role) == epoch:
                        del self._present[role]
                    self._peers.gone(gone)
                    if role in self._controls:
                        self._controls.pop(role).close()
                    self._listener.on_director(gone)
                case _:
                    self._listener.on_director(message)

    def _update(self, table: Peers) -> None:
        self._peers.update(table)
        for role in ENDED_AT:
            peer = table.peers.get(role)
            if peer is not None and self._present.get(role) != peer.epoch:
                if role in self._controls:
                    self._controls[role].close()
                self._controls[role] = Outgoing(
                    self._context, self.role, 0, peer.control, CONTROL_BOUND
                )
                if ended := tuple(self._over):
                    self._tell(role, ended)
        self._present = {role: peer.epoch for role, peer in table.peers.items()}
        for role, epoch in self._present.items():
            self._note_dead(role, epoch - 1)
        if self.present(NEEDED):
            self._here.set()
        self._listener.on_peers()

    def _note_dead(self, role: str, epoch: int) -> None:
        if kind_of(role) != CLIENT:
            self._dead[role] = max(epoch, self._dead.get(role, 0))

    def _lose_director(self) -> None:
        self._loop.remove_reader(self._director)
        self._listener.on_director_lost()


def _open_director(run_dir: Path) -> int:
    """A descriptor that becomes readable when the director of the run ends. Raises EngineError
    where there is none."""
    try:
        return os.pidfd_open(int((run_dir / "lock").read_text()))
    except (OSError, ValueError):
        raise EngineError("No engine runs in this run directory.") from None
