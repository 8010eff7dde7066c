"""A client's place in an engine: who is there, and who has died. Knows no request."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from ...actors.kernel.participant import Participant
from ...actors.kernel.tombstones import Tombstones
from ...protocol.channel import ChannelFull, Gap, Outgoing
from ...protocol.edges.control import End, Gone, Peers, Stalled
from ...protocol.errors import EngineError
from ...protocol.topology import CLIENT, kind_of, name_of

log = logging.getLogger(__name__)

ANSWER_SECONDS = 30.0
"""Within which an engine that works answers a question."""
CONTROL_BOUND = 65536
"""Messages that may wait for an actor's control socket; one that leaves more has stalled."""
FLUSH_MS = 500
"""What the last words to the actors may take when a client leaves."""
NEEDED = ("fetcher", "preprocessor", "scheduler", "detokenizer")
"""The actors that must be there before anything is submitted for the first time."""
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
    """What a client has of the participant that it speaks through, whose owner passes on what comes
    (`hear`, `hear_director`)."""

    listener: Listener
    """Set by the client."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant
        self.run_dir, self.link, self.send = participant.run_dir, participant.link, participant.send
        self.role, self.epoch = participant.role, participant.epoch
        self.name = name_of(self.role, self.epoch)
        self._controls: dict[str, Outgoing] = {}
        self._present: dict[str, int] = {}
        """Epochs of the processes that are there."""
        self._dead: dict[str, int] = {}
        """By role of an actor, the last epoch known to have ended."""
        self._over = Tombstones()
        """Requests of which an actor that comes now may still be told by one that has not heard of
        their end."""
        self.here = asyncio.Event()
        """All that are needed are."""

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Around the wait for an answer, `ANSWER_SECONDS` at most. Raises EngineError."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                yield
        except TimeoutError:
            raise EngineError(
                f"The engine in {self.run_dir} did not answer within {ANSWER_SECONDS:g} s; see "
                f"engine.log there."
            ) from None

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
        """The client is over; `in_order`: the director still runs."""
        for control in self._controls.values():
            control.flush(FLUSH_MS)

    def hear(self, frames: list[bytes]) -> None:
        """What came to the inbox."""
        incoming = self._participant.incoming
        try:
            received = incoming.accept(frames)
        except Gap as gap:
            log.warning("messages are missing, %s: what they were about is asked for again", gap)
            incoming.skip_to(frames)
            self.listener.on_gap()
            received = incoming.accept(frames)
        if received is not None:
            self.listener.on_message(received.message)

    def hear_director(self, message: Any) -> None:
        """What the director said. Of others, after the participant has heard of them."""
        match message:
            case Peers():
                self._on_peers(message)
            case Gone():
                self._on_gone(message)
            case _:
                self.listener.on_director(message)

    def _on_gone(self, gone: Gone) -> None:
        role, epoch = gone.role, gone.epoch
        self._note_dead(role, epoch)
        if self._present.get(role) == epoch:
            del self._present[role]
        if role in self._controls:
            self._controls.pop(role).close()
        self.listener.on_director(gone)

    def _on_peers(self, table: Peers) -> None:
        for role in ENDED_AT:
            peer = table.peers.get(role)
            if peer is not None and self._present.get(role) != peer.epoch:
                if role in self._controls:
                    self._controls[role].close()
                self._controls[role] = Outgoing(
                    self._participant.context, self.role, self.epoch, peer.control, CONTROL_BOUND
                )
                if ended := tuple(self._over):
                    self._tell(role, ended)
        self._present = {role: peer.epoch for role, peer in table.peers.items()}
        for role, epoch in self._present.items():
            self._note_dead(role, epoch - 1)
        if self.present(NEEDED):
            self.here.set()
        self.listener.on_peers()

    def _note_dead(self, role: str, epoch: int) -> None:
        if kind_of(role) != CLIENT:
            self._dead[role] = max(epoch, self._dead.get(role, 0))
