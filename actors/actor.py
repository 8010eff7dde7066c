"""What an actor is: a process with an inbox, a state of its own, and handlers that never wait.

Life: `Hello` -> `Welcome` with its configuration -> `on_start` -> `Ready` -> messages, until `Stop` -> `on_stop`.
A handler is a plain function: it changes the actor's state, sends messages, and may start tasks in `self.tasks`. An exception
that leaves a handler ends the process and the director starts a new one: state that may be wrong is never kept. What belongs
to one request is caught by the actor and ends that request alone.
"""

import asyncio
import logging
from typing import Any

import anyio
import anyio.abc
import zmq

from ..protocol.edges.control import (
    AskStats,
    End,
    Fatal,
    FromDirector,
    Gone,
    Peer,
    Peers,
    Ready,
    Refused,
    Stats,
    Stop,
)
from ..protocol.errors import EngineError
from ..protocol.wire import Decoder, Message, WireError
from .launch import Launch
from .link import DirectorLink
from .peers import Doors, PeerTable, Strangers

log = logging.getLogger(__name__)
DRAIN_AT_ONCE = 256
"""Messages handled before other tasks of the loop get a turn."""


class Actor:
    """The base of the asyncio actors. Subclasses override the `on_...` methods and `counters`."""

    tasks: anyio.abc.TaskGroup

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.context: zmq.Context[Any] = zmq.Context()
        self.link = DirectorLink(self.context, launch.run_dir, launch.role, launch.epoch)
        self.peers = PeerTable(self.context, launch.role, launch.epoch, self.link.send)
        self._strangers = Strangers(self.peers)
        self._control: Decoder[Any] = Decoder(FromDirector)
        self._stopping = asyncio.Event()
        self._fault: BaseException | None = None

    # to override

    async def on_start(self, config: bytes) -> dict[str, int]:
        """Load what is needed; the answer goes into `Ready.notes`. Raise EngineError for a text the user should see."""
        return {}

    async def on_stop(self) -> None:
        """Release what the process holds; its tasks have been cancelled."""

    def on_message(self, sender: str, message: Any) -> None:
        """A message of an edge; `sender` is the role."""

    def on_end(self, ids: tuple[str, ...]) -> None:
        """These requests are over: drop their state, keep a tombstone. Idempotent."""

    def on_peer(self, role: str, peer: Peer) -> None:
        """A new incarnation can be written to: send it again what it must know."""

    def on_gone(self, role: str, epoch: int) -> None:
        """An incarnation is dead and reaped: its leases end."""

    def on_death(self, gone: Gone) -> None:
        """Where it matters how it died, override this instead."""
        self.on_gone(gone.role, gone.epoch)

    def counters(self) -> dict[str, float]:
        """Counted since the start; names in snake_case, units in the name."""
        return {}

    # to use

    def send(self, role: str, message: Message, after: int = -1) -> bool:
        """See `PeerTable.send`."""
        return self.peers.send(role, message, after)

    # the shell

    async def run(self) -> None:
        welcome = self.link.hello()
        if isinstance(welcome, Refused):
            raise SystemExit(welcome.text)
        self.link.start_heartbeats()
        doors = self._doors = Doors(self.context, self.launch)
        loop = asyncio.get_running_loop()
        _name_the_loop()
        try:
            async with anyio.create_task_group() as self.tasks:
                try:
                    notes = await self.on_start(welcome.config)
                except EngineError as error:
                    self.link.send(Fatal(self.launch.role, self.launch.epoch, str(error)))
                    self.tasks.cancel_scope.cancel()
                    self._fault = SystemExit(1)
                    return
                for socket, handle in (
                    (doors.inbox, lambda: self._drain_inbox(doors)),
                    (doors.control, lambda: self._drain_control(doors)),
                    (self.link.socket, self._drain_link),
                ):
                    loop.add_reader(socket.FD, self._guard, handle)
                    loop.call_soon(self._guard, handle)  # what came before the reader was there
                launch = self.launch
                self.link.send(Ready(launch.role, launch.epoch, doors.inbox_endpoint, doors.control_endpoint, notes))
                await self._stopping.wait()
                for socket in (doors.inbox, doors.control, self.link.socket):
                    loop.remove_reader(socket.FD)
                self.tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self.on_stop()
            doors.close()
            self.peers.close()
            self.link.close()
            self.context.term()
            if self._fault is not None:
                raise self._fault

    def _guard(self, handle: Any) -> None:
        """Run a handler; its exception ends the process."""
        try:
            if not self._stopping.is_set() and handle():
                asyncio.get_running_loop().call_soon(self._guard, handle)
        except Exception as error:
            log.exception("a handler failed; the process ends")
            self._fault = error
            self._stopping.set()

    def _drain_inbox(self, doors: Doors) -> bool:
        # The director's news first: what a client sends again because of a death must not meet the state from before it.
        self._drain_link()
        if self._stopping.is_set():
            return False
        for _ in range(DRAIN_AT_ONCE):
            try:
                frames = doors.inbox.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return False
            received = doors.incoming.accept(frames)
            if received is not None and not self._strangers.keep(received):
                self.on_message(received.sender, received.message)
        return True

    def _drain_control(self, doors: Doors) -> bool:
        for _ in range(DRAIN_AT_ONCE):
            try:
                frames = doors.control.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return False
            try:
                message = self._control.decode(frames[-1])
            except WireError:
                continue
            if isinstance(message, End):
                self.on_end(message.ids)
        return True

    def _drain_link(self) -> bool:
        # A bounded loop, as above; sends on this socket can swallow its readiness, so every answer ends in a new drain.
        for _ in range(DRAIN_AT_ONCE):
            match self.link.receive():
                case None:
                    return False
                case Peers() as table:
                    for role, peer in self.peers.update(table):
                        self.on_peer(role, peer)
                    for received in self._strangers.introduced():
                        self.on_message(received.sender, received.message)
                case Gone(role, epoch) as gone:
                    self._doors.incoming.fence(role, epoch)
                    self._strangers.gone(role, epoch)
                    self.peers.gone(gone)
                    self.on_death(gone)
                case AskStats():
                    self.link.send(Stats(self.launch.role, self.launch.epoch, self.counters()))
                case End(ids):
                    self.on_end(ids)
                case Stop():
                    self._stopping.set()
                    return False
        return True


def _name_the_loop() -> None:
    """Handlers run in callbacks of the loop, outside any task; sniffio, which anyio asks if it is there, knows tasks only."""
    try:
        from sniffio import current_async_library_cvar
    except ImportError:
        return
    current_async_library_cvar.set("asyncio")


def run(actor: Actor) -> None:
    """Run an actor to its end, on uvloop where it is there."""
    import uvloop

    uvloop.run(actor.run())
