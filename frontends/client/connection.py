"""A client's place in an engine: who is there, and who has died. Knows no request."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from ...actors.kernel.participant import Participant
from ...actors.kernel.pump import Pump
from ...actors.kernel.tombstones import Tombstones
from ...protocol.channel import ChannelFull, Gap, Outgoing
from ...protocol.config.roles import ClientConfig
from ...protocol.edges.control import End, Gone, Leave, Peer, Peers, Ready, Refused, Share, Stalled
from ...protocol.errors import EngineError
from ...protocol.topology import CLIENT, kind_of

log = logging.getLogger(__name__)

ANSWER_SECONDS = 30.0
"""Within which an engine that works answers a question."""
NEEDED = ("fetcher", "preprocessor", "scheduler", "detokenizer")
"""The actors that must be there for a client to join."""
CONTROL_BOUND = 65536
"""Messages that may wait for an actor's control socket; one that leaves more has stalled."""
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


class Connection(Participant):
    """Joins one engine as `client-<name>`. It has no heartbeat: nobody restarts a client, and that
    one reads is seen by its edges."""

    listener: Listener
    """From `join` on."""

    def __init__(self, run_dir: Path, name: str) -> None:
        # The director first of all: where there is none, no socket is left open.
        self._director = _open_director(run_dir)
        super().__init__(run_dir, f"client-{name}", 0)
        self._news = Pump(self.link.socket, self._hear_news)
        self._pumps = [self._news]
        self.link.sent = self._news.soon
        self._controls: dict[str, Outgoing] = {}
        self._present: dict[str, int] = {}
        """Epochs of the processes that are there."""
        self._dead: dict[str, int] = {}
        """By role of an actor, the last epoch known to have ended."""
        self._over = Tombstones()
        """Requests of which an actor that comes now may still be told by one that has not heard of
        their end."""
        self._here = asyncio.Event()

    async def greet(self) -> tuple[ClientConfig, Share]:
        """Say Hello; what the director answers. Raises EngineError where it refuses, TimeoutError
        where none answers."""
        hello = asyncio.ensure_future(asyncio.to_thread(self.link.hello))
        try:
            welcome = await asyncio.shield(hello)
            if isinstance(welcome, Refused):
                raise EngineError(welcome.text)
            self.open_inbox()
        except BaseException:
            # The director may count this client as there, or will when it answers at last.
            await asyncio.wait([hello])  # its thread uses the link
            os.close(self._director)
            self.link.send(Leave(self.role, 0))
            await asyncio.to_thread(self.context.destroy, FLUSH_MS)
            raise
        assert welcome.share is not None
        return msgspec.json.decode(welcome.config, type=ClientConfig), welcome.share

    async def join(self, listener: Listener, patience: float | None) -> None:
        """Listen, and wait `patience` seconds for every actor. Raises TimeoutError, having left."""
        self.listener = listener
        # The director's news first, as in the actors: what is told because of a death is of an
        # attempt that ended with it.
        self._pumps.append(Pump(self.inbox, self._hear, first=self._news))
        for pump in self._pumps:
            pump.open()
        asyncio.get_running_loop().add_reader(self._director, self._lose_director)
        self.link.send(Ready(self.role, 0, self.endpoint(), control=""))
        try:
            async with asyncio.timeout(patience):
                await self._here.wait()
        except BaseException:
            await self.leave(in_order=True)
            raise

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Around the wait for an answer, `ANSWER_SECONDS` at most. Raises EngineError."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                yield
        except TimeoutError:
            raise self.no_answer() from None

    def no_answer(self) -> EngineError:
        """For the person who runs the engine: it names the run directory."""
        return EngineError(
            f"The engine in {self.run_dir} did not answer within {ANSWER_SECONDS:g} s; see "
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
            self.link.send(Stalled(role, self._present.get(role, 0)))

    async def leave(self, in_order: bool) -> None:
        """Close everything; `in_order`: the director still runs and is told."""
        for pump in self._pumps:
            pump.close()
        asyncio.get_running_loop().remove_reader(self._director)
        os.close(self._director)
        if in_order:
            self.link.send(Leave(self.role, 0))
        try:
            await asyncio.to_thread(self.close)
        # the interpreter is ending: threads take no more work, and nothing else waits for this one
        except RuntimeError:
            self.close()

    def close(self) -> None:
        for control in self._controls.values():
            control.flush(FLUSH_MS)
        super().close()

    def _hear(self, frames: list[bytes]) -> None:
        try:
            received = self.incoming.accept(frames)
        except Gap as gap:
            log.warning("messages are missing, %s: what they were about is asked for again", gap)
            self.incoming.skip_to(frames)
            self.listener.on_gap()
            received = self.incoming.accept(frames)
        if received is not None:
            self.listener.on_message(received.message)

    def _hear_news(self, frames: list[bytes]) -> None:
        message = self.link.decode(frames)
        if not self.hear_of_others(message):
            self.listener.on_director(message)

    def on_gone(self, gone: Gone) -> None:
        role, epoch = gone.role, gone.epoch
        self._note_dead(role, epoch)
        if self._present.get(role) == epoch:
            del self._present[role]
        if role in self._controls:
            self._controls.pop(role).close()
        self.listener.on_director(gone)

    def on_peers(self, table: Peers, fresh: list[tuple[str, Peer]]) -> None:
        for role in ENDED_AT:
            peer = table.peers.get(role)
            if peer is not None and self._present.get(role) != peer.epoch:
                if role in self._controls:
                    self._controls[role].close()
                self._controls[role] = Outgoing(
                    self.context, self.role, 0, peer.control, CONTROL_BOUND
                )
                if ended := tuple(self._over):
                    self._tell(role, ended)
        self._present = {role: peer.epoch for role, peer in table.peers.items()}
        for role, epoch in self._present.items():
            self._note_dead(role, epoch - 1)
        if self.present(NEEDED):
            self._here.set()
        self.listener.on_peers()

    def _note_dead(self, role: str, epoch: int) -> None:
        if kind_of(role) != CLIENT:
            self._dead[role] = max(epoch, self._dead.get(role, 0))

    def _lose_director(self) -> None:
        asyncio.get_running_loop().remove_reader(self._director)
        self.listener.on_director_lost()


def _open_director(run_dir: Path) -> int:
    """Readable when the director of the run ends. Raises EngineError where there is none."""
    try:
        return os.pidfd_open(int((run_dir / "lock").read_text()))
    except (OSError, ValueError):
        raise EngineError("No engine runs in this run directory.") from None
