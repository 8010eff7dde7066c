"""A client in a process of its own: it joins an engine that runs, and leaves it."""

import asyncio
import os
from pathlib import Path

import msgspec

from ...actors.kernel.participant import Participant
from ...actors.kernel.pump import Pump
from ...protocol.config.roles import ClientConfig
from ...protocol.edges.control import Leave, Ready, Refused, Share
from ...protocol.errors import EngineError
from .connection import FLUSH_MS, Connection


class Joined(Connection):
    """Joins one engine as `client-<name>`. It has no heartbeat: nobody restarts it, and that it
    reads is seen by its edges."""

    def __init__(self, run_dir: Path, name: str) -> None:
        # The director first of all: where there is none, no socket is left open.
        self._director = _open_director(run_dir)
        super().__init__(Participant(run_dir, f"client-{name}", 0))
        self._news = Pump(self.link.socket, self._hear_news)
        self._pumps = [self._news]
        self.link.sent = self._news.soon

    async def greet(self) -> tuple[ClientConfig, Share]:
        """Say Hello; what the director answers. Raises EngineError where it refuses, or none
        answers."""
        hello = asyncio.ensure_future(asyncio.to_thread(self.link.hello))
        try:
            async with self.answering():
                welcome = await asyncio.shield(hello)
            if isinstance(welcome, Refused):
                raise EngineError(welcome.text)
            self._participant.open_inbox()
        except BaseException:
            # The director may count this client as there, or will when it answers at last.
            await asyncio.wait([hello])  # its thread uses the link
            os.close(self._director)
            self.link.send(Leave(self.role, self.epoch))
            await asyncio.to_thread(self._participant.context.destroy, FLUSH_MS)
            raise
        assert welcome.share is not None
        return msgspec.json.decode(welcome.config, type=ClientConfig), welcome.share

    async def join(self) -> None:
        """Listen, and wait for every actor. Raises EngineError, having left."""
        # The director's news first, as in the actors: what is told because of a death is of an
        # attempt that ended with it.
        self._pumps.append(Pump(self._participant.inbox, self.hear, first=self._news))
        for pump in self._pumps:
            pump.open()
        asyncio.get_running_loop().add_reader(self._director, self._lose_director)
        endpoint = self._participant.endpoint()
        self.link.send(Ready(self.role, self.epoch, endpoint, control=""))
        try:
            async with self.answering():
                await self.here.wait()
        except BaseException:
            await self.leave(in_order=True)
            raise

    async def leave(self, in_order: bool) -> None:
        """Close everything, and tell the director."""
        for pump in self._pumps:
            pump.close()
        asyncio.get_running_loop().remove_reader(self._director)
        os.close(self._director)
        if in_order:
            self.link.send(Leave(self.role, self.epoch))
        await super().leave(in_order)
        try:
            await asyncio.to_thread(self._participant.close)
        # the interpreter is ending: threads take no more work, and nothing else waits for this one
        except RuntimeError:
            self._participant.close()

    def _hear_news(self, frames: list[bytes]) -> None:
        message = self.link.decode(frames)
        self._participant.hear_of_others(message)
        self.hear_director(message)

    def _lose_director(self) -> None:
        asyncio.get_running_loop().remove_reader(self._director)
        self.listener.on_director_lost()


def _open_director(run_dir: Path) -> int:
    """Readable when the director of the run ends. Raises EngineError where there is none."""
    try:
        return os.pidfd_open(int((run_dir / "lock").read_text()))
    except (OSError, ValueError):
        raise EngineError("No engine runs in this run directory.") from None
