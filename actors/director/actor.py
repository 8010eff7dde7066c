"""The director: starts every process, introduces them to each other, replaces the dead, ends all in
order.

It does no risky work and holds no request: everything it knows can be seen in `Status`.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...protocol import VERSION
from ...protocol.edges.control import (
    AskLive,
    AskReset,
    AskStatus,
    Drained,
    Excuse,
    Facts,
    Fatal,
    Gone,
    Heartbeat,
    Hello,
    Kill,
    Leave,
    Live,
    Peer,
    Ready,
    Refused,
    ResetDone,
    Stalled,
    Stats,
    Status,
    Welcome,
)
from ...protocol.edges.view import Incarnation
from ...protocol.errors import EngineError
from ...protocol.facts import ModelFacts
from ...protocol.topology import CLIENT, DIRECTOR, FACTS, kind_of
from ...protocol.wire import Message
from .clients import HANGS, Clients
from .config import Announcement, DirectorConfig
from .ending import end_in_order
from .janitor_keeper import JanitorKeeper
from .mailbox import MEND, Mailbox
from .parts import Parts
from .processes import is_child
from .roster import ClientRecord, Member
from .rounds import Asker, Resets, StatsCollector
from .supervisor import Supervisor
from .usage import measured

log = logging.getLogger(__name__)

HASTEN_SECONDS = 1.0
"""Signals that come sooner belong to the first: a closed terminal sends two, a service manager one
to each process."""


class Director:
    """One engine. `announce` tells the face that started it."""

    def __init__(
        self,
        config: DirectorConfig,
        run_dir: Path,
        announce: Callable[[Announcement], None],
        janitor: JanitorKeeper,
    ) -> None:
        self.config = config
        self.parts = Parts(config)
        self._announce = announce
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._mailbox = Mailbox(run_dir, self._hear)
        self.supervisor = Supervisor(
            config, run_dir, self.parts.members, janitor, self._gone, self.give_up
        )
        self.roster = self.supervisor.roster
        self._clients = Clients(
            self.roster, self.supervisor, self.parts.share, self.send, self._client_left
        )
        self._stats = StatsCollector(self.roster, self.send, self._tell_state)
        self._resets = Resets(self.roster, self.send, self._mailbox.answer)
        self._early: list[tuple[Hello, bytes]] = []
        """Who said Hello before its part was known, and its identity."""
        self._opened = False
        self._face_here = config.face_pid is not None
        self.fatal: str | None = None
        self._over = asyncio.Event()
        self._over_since = 0.0
        self.now = asyncio.Event()
        """Set by a second SIGTERM or SIGINT: wait for nothing more."""

    async def run(self) -> int:
        """Until the engine has ended; returns the exit code."""
        log.info("loading %s from %s", self.config.engine.name, self.config.engine.model)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            self._loop.add_signal_handler(number, self._asked_to_stop, number)
        if self.config.face_pid is not None:
            self.supervisor.watcher.watch(
                self.config.face_pid, lambda pid, status: self.face_gone(), ours=False
            )
        self._mailbox.pump.open()
        if (facts := self.config.cast.facts) is not None:
            self._know(facts, None)
        if not self._over.is_set():
            self.supervisor.start()
        self._tick(self._loop.time())
        await self._over.wait()
        await end_in_order(self)
        self._mailbox.close()
        return 0 if self.fatal is None else 1

    # ends

    def _asked_to_stop(self, number: signal.Signals) -> None:
        if not self._over.is_set():
            log.info("asked to stop (%s)", number.name)
            self._end()
        elif number not in (signal.SIGTERM, signal.SIGINT) or self.now.is_set():
            return
        elif self._loop.time() - self._over_since >= HASTEN_SECONDS:
            log.info("asked again to stop (%s): nobody is waited for any more", number.name)
            self.now.set()
            self.supervisor.changed.set()

    def _end(self) -> None:
        if not self._over.is_set():
            self._over_since = self._loop.time()
            self._over.set()

    def face_gone(self) -> None:
        """The face that started the engine has let go of it, or died."""
        if self._face_here:
            self._face_here = False
            self._stop_if_unused()
            if not self._over.is_set():
                self._announce(Announcement("staying"))

    def _stop_if_unused(self) -> None:
        if self._face_here or self._over.is_set():
            return
        if self.config.server is not None or not self.roster.joined:
            log.info("the last face has gone")
            self._end()

    def give_up(self, text: str) -> None:
        """The engine cannot go on; `text` is for the person who started it."""
        if self.fatal is None:
            log.error("%s", text)
            self.fatal = text
            self._announce(Announcement("fatal", text))
            self._end()
            self.supervisor.changed.set()

    def _tick(self, before: float) -> None:
        """The leases are looked after; `before`: when this should have been."""
        self._mailbox.pump.drain()  # who has spoken is not silent
        now = self._loop.time()
        self.supervisor.check_leases(late=now - before)
        # What is silent is found at most so much later.
        period = min(1.0, self.config.engine.lease_seconds / 8)
        self._loop.call_later(period, self._tick, now + period)

    # messages

    def send(self, one: Member | ClientRecord, message: Message) -> None:
        """To one that has said Hello; others hear nothing."""
        if one.identity is not None:
            self._mailbox.answer(one.identity, message)

    def tell_all(self, message: Message) -> None:
        for one in self.roster.everyone.values():
            if one.peer is not None:
                self.send(one, message)

    def _hear(self, identity: bytes, message: Any) -> None:
        match message:
            case Hello():
                self._hear_hello(message, identity)
            case Facts(role, epoch, model, gpu_bytes):
                if self._member(role, epoch, dead=True) is not None:
                    self.supervisor.dismiss(role)
                    self._know(model, gpu_bytes)
            case Heartbeat(role, epoch):
                if (member := self._member(role, epoch)) is not None:
                    member.lease.renew(self._loop.time())
            case Ready():
                self._ready(message)
            case Stats():
                self._stats.heard(message)
            case Fatal(role, epoch, text):
                self._hear_fatal(role, epoch, text)
            case Leave(role, epoch):
                self._clients.leave(role, epoch, identity)
            case AskStatus():
                self._stats.ask(identity)
            case AskLive(number):
                self._stats.ask(identity, number)
            case AskReset():
                self._resets.ask(identity, message)
            case ResetDone(role, epoch, number):
                if self._member(role, epoch) is not None:
                    self._resets.answered(role, number)
            case Excuse(role, epochs):
                if (excused := self.roster.members.get(role)) is not None:
                    excused.budget.give_back(epochs)
            case Kill(role, epoch):
                self.supervisor.kill(role, epoch, excused=True)
            case Drained(role, epoch):
                self._clients.drained(role, epoch)
            case Stalled(role, epoch):
                self._end_stalled(role, epoch)

    def _hear_fatal(self, role: str, epoch: int, text: str) -> None:
        """Before the engine was ready this ends it. Later it is one more death; the text is shown
        if the role is given up."""
        member = self._member(role, epoch, dead=True)
        if member is not None:
            member.fatal = text
            if not self._opened:
                self.give_up(text)

    def _member(self, role: str, epoch: int, dead: bool = False) -> Member | None:
        """The incarnation that speaks. `dead`: also one not replaced yet, as its last words may
        come after its death."""
        member = self.roster.members.get(role)
        return (
            member
            if member is not None and member.epoch == epoch and (dead or member.state != "gone")
            else None
        )

    def _hear_hello(self, hello: Hello, identity: bytes) -> None:
        """Who comes before its part is known waits for it."""
        if hello.role in self.roster.members:
            self.supervisor.make_next()
        if not self.parts.known and hello.role != FACTS:
            self._early.append((hello, identity))
        else:
            self._mailbox.answer(identity, self._greet(hello, identity))

    def _know(self, model: ModelFacts, gpu_bytes: int | None) -> None:
        """What the model is: from now on everybody can be told its part."""
        try:
            self.parts.divide(model, gpu_bytes)
        except EngineError as error:
            self.give_up(str(error))
            return
        early, self._early = self._early, []
        for hello, identity in early:
            self._mailbox.answer(identity, self._greet(hello, identity))

    def _greet(self, hello: Hello, identity: bytes) -> Welcome | Refused:
        if hello.version != VERSION:
            return Refused(
                f"{hello.role} speaks version {hello.version} of the protocol, the engine speaks "
                f"version {VERSION}. {MEND}"
            )
        if self.supervisor.closing or (self._over.is_set() and kind_of(hello.role) == CLIENT):
            return Refused("The engine is ending.")
        joins = kind_of(hello.role) == CLIENT and hello.role not in self.roster.members
        admit = self._clients.admit if joins else self._admit
        return admit(hello, identity) or Welcome(
            self.parts.of(hello.role),
            self._clients.reshare(hello.role) if kind_of(hello.role) == CLIENT else None,
        )

    def _admit(self, hello: Hello, identity: bytes) -> Refused | None:
        """None: it has the role that it was made for."""
        member = self._member(hello.role, hello.epoch)
        if member is None or member.pid not in (None, hello.pid):
            return Refused(
                f"{hello.role}.{hello.epoch} is not expected; another incarnation has its place."
            )
        if member.pid is None and is_child(hello.pid):
            # Quicker than the zygote's report, or the zygote died before that.
            self.supervisor.adopt(hello.role, hello.epoch, hello.pid)
        if member.pid != hello.pid:
            return Refused(f"{hello.role}.{hello.epoch} cannot be watched now.")
        member.identity = identity
        member.lease.renew(self._loop.time())
        return None

    # readiness and death

    def _end_stalled(self, role: str, epoch: int) -> None:
        """It does not read what its peers send."""
        client = self._clients.find(role, epoch)
        if client is None:
            self.supervisor.end_silent(role, epoch, HANGS)
        else:
            self._clients.give_up(role, client)

    def _ready(self, ready: Ready) -> None:
        one: Member | ClientRecord | None = self._member(
            ready.role, ready.epoch
        ) or self.roster.joined.get(ready.role)
        if one is None or one.pid is None or one.epoch != ready.epoch:
            log.info("%s.%d is ready too late", ready.role, ready.epoch)
            return
        one.peer = Peer(ready.epoch, one.pid, ready.inbox, ready.control, ready.notes)
        if isinstance(one, Member):
            one.state = "ready"
            self.supervisor.note(ready.role, ready.epoch, "ready")
            self._resets.ready(one)
        self.tell_all(self.roster.table())
        if self.roster.ready and not self._opened:
            self._opened = True
            self.supervisor.opened()
            server = self.config.server
            log.info(
                "every process is ready after %.1f s%s",
                self._loop.time() - self._began,
                f", and {server.url} is open" if server is not None else "",
            )
            self._announce(Announcement("ready"))

    def _gone(self, role: str, epoch: int, outside: bool) -> None:
        if not self.supervisor.closing:
            self.tell_all(Gone(role, epoch, outside))
        self._stats.gone(role)
        self._resets.gone(role)
        if kind_of(role) == CLIENT:
            self._clients.reshare()

    def _client_left(self, role: str, epoch: int) -> None:
        self._gone(role, epoch, True)
        self.supervisor.changed.set()
        self._stop_if_unused()

    def _tell_state(self, asker: Asker) -> None:
        if asker.watch is None:
            self._mailbox.answer(asker.identity, self.status())
            return
        pids, roster = self._pids(), self.roster
        incarnations = {
            role: Incarnation(member.state, member.epoch, member.restarts)
            for role, member in roster.members.items()
        }
        restarts = self.supervisor.zygote.restarts
        here = "ready" if self.supervisor.zygote.pid is not None else "gone"
        incarnations["zygote"] = Incarnation(here, restarts + 1, restarts)
        incarnations[DIRECTOR] = Incarnation("ready", 1, 0)
        live = Live(
            asker.watch,
            roster.ready and not self._over.is_set(),
            {role: measured(one, pids.get(role)) for role, one in incarnations.items()},
            dict(roster.stats),
            dict(roster.seen),
            tuple(roster.happened),
        )
        self._mailbox.answer(asker.identity, live)

    def _pids(self) -> dict[str, int]:
        pids = {role: member.pid for role, member in self.roster.members.items()} | {
            "zygote": self.supervisor.zygote.pid,
            DIRECTOR: os.getpid(),
        }
        return {role: pid for role, pid in pids.items() if pid is not None}

    def status(self, ended: str | None = None) -> Status:
        """`ended`: why nobody is served any more."""
        members = self.roster.members
        return Status(
            ready=self.roster.ready and not self._over.is_set(),
            roles={role: member.state for role, member in members.items()},
            stats=dict(self.roster.stats),
            pids=self._pids(),
            restarts={role: member.restarts for role, member in members.items()}
            | {"zygote": self.supervisor.zygote.restarts},
            fatal=ended or self.fatal,
            gave_up=self.fatal is not None,
        )
