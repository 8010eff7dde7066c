"""Actors that only pass messages on and wait for others: an asyncio loop whose handlers never wait
themselves."""

import asyncio
import logging
import time
from collections.abc import Callable

import anyio
import anyio.abc
import zmq

from ...protocol.channel import take
from .base import BaseActor
from .launch import Launch

log = logging.getLogger(__name__)
DRAIN_AT_ONCE = 256
"""Messages handled before other tasks of the loop get a turn."""


class Actor(BaseActor):
    """Handlers may start tasks in `self.tasks`."""

    tasks: anyio.abc.TaskGroup
    """While the actor runs."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
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
        loop = asyncio.get_running_loop()
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
                handlers: tuple[tuple[zmq.Socket[bytes], Callable[[], bool]], ...] = (
                    (self.inboxes.inbox, self._drain_inbox),
                    (self.inboxes.control, self._drain_control),
                    (self.link.socket, self._drain_link),
                )
                for socket, handle in handlers:
                    loop.add_reader(socket.FD, self._guard, handle)
                    loop.call_soon(self._guard, handle)  # what came before the reader was there
                self.tell_ready(notes)
                await self._stopping.wait()
                for socket, _ in handlers:
                    loop.remove_reader(socket.FD)
                self.tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self.on_stop()
            self.close()
            if self._fault is not None:
                raise self._fault

    def _guard(self, handle: Callable[[], bool | None]) -> None:
        """Run a handler, again if it has more to do; its exception ends the process."""
        self.link.working_since = time.monotonic()
        try:
            if not self._stopping.is_set() and handle():
                asyncio.get_running_loop().call_soon(self._guard, handle)
        except Exception as error:
            log.exception("a handler failed; the process ends")
            self._fault = error
            self._stopping.set()
        self.link.working_since = None

    def _drain_inbox(self) -> bool:
        """This and the other two: True where more may be waiting."""
        for _ in range(DRAIN_AT_ONCE):
            frames = take(self.inboxes.inbox)
            # The director's news first: what is sent because of a death must not meet the state
            # from before it.
            self._drain_link()
            if frames is None or self._stopping.is_set():
                return False
            self.hear(frames)
        return True

    def _drain_control(self) -> bool:
        for _ in range(DRAIN_AT_ONCE):
            frames = take(self.inboxes.control)
            if frames is None:
                return False
            self.hear_control(frames)
        return True

    def _drain_link(self) -> bool:
        # A bounded loop, as above; sends on this socket can swallow its readiness, so every answer
        # ends in a new drain.
        for _ in range(DRAIN_AT_ONCE):
            message = self.link.receive()
            if message is None:
                return False
            if not self.hear_director(message):
                self._stopping.set()
                return False
        return True


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
