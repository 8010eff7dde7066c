"""Actors that pass messages on: an asyncio loop whose handlers never wait themselves."""

import asyncio
import logging
import time
from collections.abc import Callable

import anyio
import anyio.abc

from .base import BaseActor
from .launch import Launch
from .pump import Pump

log = logging.getLogger(__name__)


class Actor(BaseActor):
    """Handlers may start tasks in `self.tasks`."""

    tasks: anyio.abc.TaskGroup
    """While the actor runs."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self._news = Pump(self.link.socket, self._hear_news, guard=self._guard)
        self._pumps = [self._news]
        self.link.sent = self._news.soon
        self._stopping = asyncio.Event()
        self._fault: BaseException | None = None

    async def on_start(self, config: bytes) -> dict[str, int]:
        """Load what is needed; the answer goes into `Ready.notes`. Raise EngineError for a text the
        user should see."""
        return {}

    async def on_stop(self) -> None:
        """Release what the process holds; its tasks have been cancelled."""

    async def run(self) -> None:
        config = self.hello()
        _name_the_loop()
        try:
            async with anyio.create_task_group() as self.tasks:
                try:
                    notes = await self.on_start(config)
                except Exception as error:
                    self.tell_fatal(error)
                    self.tasks.cancel_scope.cancel()
                    self._fault = SystemExit(1)
                    return
                self._open_pumps()
                self.tell_ready(notes)
                await self._stopping.wait()
                self.tasks.cancel_scope.cancel()
        finally:
            self.stop()
            with anyio.CancelScope(shield=True):
                await self.on_stop()
            self.close()
            if self._fault is not None:
                raise self._fault

    def catch_up(self) -> None:
        """Hear what the director has said until now: news that may change what is in hand."""
        self._news.drain()

    def _open_pumps(self) -> None:
        # The director's news first: what is sent because of a death must not meet the state from
        # before it.
        self._pumps += [
            Pump(self.inbox, self.hear, first=self._news, guard=self._guard),
            Pump(self.control, self.hear_control, guard=self._guard),
        ]
        for pump in self._pumps:
            pump.open()

    def _hear_news(self, frames: list[bytes]) -> None:
        if not self.hear_director(self.link.decode(frames)):
            self.stop()

    def _guard(self, turn: Callable[[], None]) -> None:
        """An exception of a handler ends the process. Nothing is done any more in one that ends: a
        timer may be due after its sockets are closed."""
        if self._stopping.is_set():
            return
        self.link.working_since = time.monotonic()
        try:
            turn()
        except Exception as error:
            log.exception("a handler failed; the process ends")
            self._fault = error
            self.stop()
        self.link.working_since = None

    def stop(self) -> None:
        """Hear nothing more, and end. Idempotent."""
        for pump in self._pumps:
            pump.close()
        self._stopping.set()


def _name_the_loop() -> None:
    """Handlers run in callbacks of the loop, outside any task; sniffio, which anyio asks if it is
    there, knows tasks only."""
    try:
        from sniffio import current_async_library_cvar
    except ImportError:
        return
    current_async_library_cvar.set("asyncio")


def run(actor: Actor) -> None:
    """Run an actor to its end, on uvloop."""
    import uvloop

    uvloop.run(actor.run())
