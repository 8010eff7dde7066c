"""Keeps every role played: starts processes, and again after their end, within a budget."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ...protocol.edges.view import Happening
from ...protocol.memory.blobs import unlink_segments
from ...protocol.topology import FACTS, GPU_RUNNER, HTTP, RANK, kind_of
from ..kernel import last_words
from ..kernel.launch import Launch
from .config import DirectorConfig
from .exit_cause import MemoryKills, how, is_outside, kill_counter
from .janitor_keeper import JanitorKeeper
from .leases import Holder, LeaseCourt
from .processes import RETRY_SECONDS, Ended, ProcessWatcher, kill, spawn_actor
from .roster import Member, RestartBudget, Roster
from .threads import is_stopped, threads_of
from .zygote_keeper import ZygoteKeeper

log = logging.getLogger(__name__)

RESTARTS, WINDOW = 5, 60.0
"""Restarts per role within so many seconds; the next death after them is the end of the engine."""
RESTARTS_AT_START = 2
"""Before the engine was ready for the first time: what fails then mostly fails again."""
HELLO_SECONDS = 300.0
"""From the start of a process to its Hello, the zygote's imports included."""
_TOGETHER = (GPU_RUNNER, RANK)
LAST_WORDS_SECONDS = 0.5
"""A dying process's last message may arrive a little after the news of its death."""


class Supervisor:
    """`gone` is called for each incarnation that has been reaped (role, epoch, killed from
    outside), `give_up` when a role cannot be played."""

    def __init__(
        self,
        config: DirectorConfig,
        run_dir: Path,
        roles: list[str],
        janitor: JanitorKeeper,
        gone: Callable[[str, int, bool], None],
        give_up: Callable[[str], None],
    ) -> None:
        self._config, self._run_dir = config, run_dir
        self._janitor, self._gone, self._give_up = janitor, gone, give_up
        self._loop = asyncio.get_running_loop()
        self.watcher = ProcessWatcher()
        self.roster = Roster(
            {role: Member(role, RestartBudget(RESTARTS_AT_START, WINDOW)) for role in roles}
        )
        self.changed = asyncio.Event()
        """Set at every death; whoever waits for deaths clears it."""
        self.zygote = ZygoteKeeper(
            config.engine.model,
            config.cast.imports(),
            RestartBudget(RESTARTS, WINDOW),
            watch=self._watch,
            forked=self.adopt,
            void=self._void,
            give_up=give_up,
            changed=self.changed.set,
            note=self.note,
        )
        janitor.keep(self.watcher, lambda: list(self.watcher.children), self.note)
        self._memory_kills = MemoryKills(kill_counter(), self._loop.time())
        self._court = LeaseCourt(threads_of, os.getpid(), self._loop.time())
        self._well = True
        """Nothing has been logged that is not over."""
        self._opened = False
        self._unmade: list[Member] = []
        """At a start, those whose turn has not come."""
        self.closing = False
        """Nobody is restarted any more."""

    @property
    def alive(self) -> list[Member]:
        return [member for member in self.roster.members.values() if member.pid is not None]

    def start(self) -> None:
        """The zygote first: its imports take longest, and all wait for them. The others beside it,
        on other processors."""
        members = list(self.roster.members.values())
        forked = [member for member in members if self._config.cast.is_forked(member.role)]
        self._unmade = [member for member in members if member not in forked]
        at_once = len(members)
        if forked:
            self.zygote.want()
            at_once = max(1, len(os.sched_getaffinity(0)) - 1)
        for member in forked:
            self._make(member)
        for _ in range(at_once):
            self.make_next()

    def make_next(self) -> None:
        """One of them has said Hello: its imports are done, and the next one's may begin."""
        if self._unmade and not self.closing:
            self._make(self._unmade.pop(0))

    def opened(self) -> None:
        """The engine is ready for the first time: from now on each role has its full budget."""
        self._opened = True
        for member in self.roster.members.values():
            member.budget = RestartBudget(RESTARTS, WINDOW)

    def _make(self, member: Member) -> None:
        """Later where the machine gives no process or no file for it now."""
        try:
            self._start(member)
        except OSError as error:
            self._put_off(member, error)

    def _put_off(self, member: Member, error: OSError) -> None:
        if not member.put_off:
            log.error(
                "%s cannot be started now (%s); again every %g s",
                member.role,
                error.strerror,
                RETRY_SECONDS,
            )
        member.put_off, self._well = True, False
        self._forgo(member, True)
        self._drag(member, True)
        self._loop.call_later(RETRY_SECONDS, self._try_again, member, member.epoch)

    def _forgo(self, member: Member, outside: bool) -> None:
        """Its process, of which the zygote has not yet told."""
        known = member.peer is not None
        member.end()
        if known:  # it may be ready before the zygote has said that it made it
            self._gone(member.role, member.epoch, outside)
        if member.identity is not None:  # else it has made nothing yet
            self.bury(member.role, member.epoch)

    def _try_again(self, member: Member, epoch: int) -> None:
        if member.epoch == epoch and not self.closing and not member.retired:
            self._remake(member)

    def _gang(self, member: Member) -> list[Member]:
        """Those that live and die with it, itself among them: who compute one model together cannot
        go on with a newcomer."""
        if kind_of(member.role) not in _TOGETHER:
            return [member]
        return [one for one in self.roster.members.values() if kind_of(one.role) in _TOGETHER]

    def _drag(self, member: Member, outside: bool) -> None:
        """It has ended, or cannot be made, and with it end the others of its gang."""
        for mate in self._gang(member):
            if mate is member or mate.state == "gone" or mate.dragged is not None:
                continue
            mate.dragged = outside
            if mate.pid is not None:
                kill(mate.pid)
            else:
                self._forgo(mate, outside)
                mate.epoch += 1  # what the zygote makes of it is of a former one then

    def _remake(self, member: Member) -> None:
        """A successor; of a gang, of all at once and in the same epoch, when the last has been
        reaped."""
        gang = self._gang(member)
        self._drag(member, True)
        member.due = any(mate.pid is not None for mate in gang)
        if member.due or self.closing:
            return
        epoch = max(one.epoch for one in gang)
        for one in gang:
            one.epoch, one.due = epoch, False
            self._make(one)

    def _start(self, member: Member) -> None:
        epoch = member.begin(self._loop.time())
        launch = Launch(
            role=member.role,
            epoch=epoch,
            run_dir=str(self._run_dir),
            module=self._config.cast.module_of(member.role),
            parent=os.getpid(),
            outside=member.outside,
        )
        if self._config.cast.is_forked(member.role):
            self.zygote.fork(launch)
            return
        listen = (
            self._config.server.listen_fd if self._config.server and member.role == HTTP else None
        )
        self.adopt(launch.role, launch.epoch, spawn_actor(launch, inherit=listen))

    def _watch(self, pid: int, ended: Ended) -> None:
        """A new child. Raises OSError where there is no file to watch it with; it is dead then."""
        self._janitor.tell(pid)
        self.watcher.watch(pid, ended)

    def adopt(self, role: str, epoch: int, pid: int) -> None:
        """A process has been made for `role`, here or by the zygote. Idempotent."""
        member = self.roster.members.get(role)
        if member is None:  # it has done what it was for, and was watched since it said so
            return
        current = member.epoch == epoch
        if current and member.pid == pid:
            return
        try:
            self._watch(pid, lambda pid, status: self._ended(member, epoch, status))
        except OSError as error:
            if current:
                self._put_off(member, error)
            return
        if current:
            member.pid, member.put_off = pid, False
        else:  # given up on while the zygote was slow
            kill(pid)

    def _void(self, launches: list[Launch]) -> None:
        """The zygote died before it had made them, or before it could say so."""
        for launch in launches:
            member = self.roster.members.get(launch.role)
            if member is not None and member.epoch == launch.epoch and member.pid is None:
                self._remake(member)

    def _ended(self, member: Member, epoch: int, status: int | None) -> None:
        if member.epoch != epoch:
            return
        ready = member.state == "ready"
        member.end()
        memory = self._memory_kills.explain(self._loop.time())
        outside = is_outside(status, member.silent, member.stopped, memory)
        member.outside = outside or member.excused
        if member.dragged is not None:
            member.outside = member.dragged
        else:
            self._drag(member, member.outside)
        # Before all that takes time: /health waits for it.
        self._gone(member.role, epoch, member.outside)
        cause = how(status, memory)
        told = member.role == FACTS and status == 0  # this may overtake what it has told
        wanted = self.closing or member.retired or told
        level = logging.INFO if wanted or member.dragged is not None else logging.WARNING
        if self.closing and not self._opened:
            level = logging.DEBUG  # a start has failed: nine that are killed for it bury the reason
        log.log(
            level,
            "%s.%d has ended (%s)",
            member.role,
            epoch,
            cause,
        )
        self._well &= wanted
        self.roster.forget(member.role)
        if not wanted:
            self.note(member.role, epoch, "ended", cause)
        if member.dragged is not None:
            self._remake_due(member)
        elif ready:
            self._restart(member, cause)
        else:
            may_succeed = self._opened or outside or member.silent or member.excused
            next_step = self._restart if may_succeed else self._fail
            self._loop.call_later(
                LAST_WORDS_SECONDS, next_step, member, self._last_words(member, cause)
            )
        self.bury(member.role, epoch)
        self.changed.set()

    def _remake_due(self, member: Member) -> None:
        if (one := next((mate for mate in self._gang(member) if mate.due), None)) is not None:
            self._remake(one)

    def note(self, role: str, epoch: int, what: Literal["ended", "ready"], why: str = "") -> None:
        """For those who watch; a start and a stop are no news."""
        if self._opened and not self.closing:
            self.roster.happened.append(Happening(time.monotonic(), role, epoch, what, why))

    def _last_words(self, member: Member, cause: str) -> str:
        """`cause`, and what it said last on its stderr, all of which goes to the log."""
        kept = last_words.take(last_words.path_of(self._run_dir, member.role, member.epoch))
        sys.stderr.buffer.write(kept)
        sys.stderr.flush()
        line = last_words.last_line(kept)
        return f"{cause}: {line}" if line else cause

    def _fail(self, member: Member, death: str) -> None:
        """The engine has never been ready, and what failed would fail again."""
        if not self.closing and not member.retired:
            self._give_up(
                member.fatal or f"The process {member.role} ended while it was loading ({death})."
            )

    def _restart(self, member: Member, death: str) -> None:
        if self.closing or member.retired:
            return
        gang = self._gang(member)
        if not member.excused and not gang[0].budget.spend(self._loop.time(), member.epoch):
            self._give_up(
                member.fatal
                or f"The process {member.role} ended again and again ({death}); see the log."
            )
            return
        for one in gang:
            one.restarts += 1
        self._remake(member)

    def dismiss(self, role: str) -> None:
        """The role has done what it was for: its process ends, and is not made again."""
        self.roster.members.pop(role).retired = True

    def bury(self, role: str, epoch: int) -> None:
        """Remove its segments, whose bytes stay with who has them mapped, and its sockets."""
        try:
            unlink_segments(self._run_dir, f"{role}.{epoch}")
        # no file is left to list a folder with; its peers must hear of the death all the same
        except OSError as error:
            log.error("%s.%d cannot be tidied up now (%s)", role, epoch, error.strerror)
            self._loop.call_later(RETRY_SECONDS, self.bury, role, epoch)
            return
        for suffix in ("sock", "ctl", "err", "gang"):
            (self._run_dir / f"{role}.{epoch}.{suffix}").unlink(missing_ok=True)

    def kill(self, role: str, epoch: int, excused: bool = False) -> None:
        """End one incarnation; its successor is made when it has been reaped."""
        member = self.roster.members.get(role)
        if member is not None and member.epoch == epoch and member.pid is not None:
            member.excused = excused
            kill(member.pid)

    def end_silent(self, role: str, epoch: int, why: str) -> None:
        """End one incarnation that hangs. `why` is logged, once: all who write to it may complain,
        until it has died."""
        member = self.roster.members.get(role)
        if (
            member is not None
            and member.epoch == epoch
            and member.pid is not None
            and not member.silent
        ):
            log.warning("%s.%d %s and is replaced", role, epoch, why)
            member.silent, member.stopped = True, is_stopped(member.pid)
            self.kill(role, epoch)

    def check_leases(self, late: float) -> None:
        """Kill silent processes: even one that is only stopped must be reaped before anything it
        could write is reused.

        `late`: seconds by which this comes later than it should.
        """
        self._memory_kills.look(self._loop.time())
        lease = self._config.engine.lease_seconds
        holders = self.roster.holders(lease, HELLO_SECONDS)
        if (zygote := self.zygote.holder(lease, HELLO_SECONDS)) is not None:
            holders.append(zygote)
        else:
            # what it has just made is none, though it may have ended before it is known
            self.watcher.reap_strangers()
        self._janitor.check()
        judgement = self._court.judge(holders, self._loop.time(), late)
        for holder in judgement.starved:
            self._tell_starved(holder)
        for holder in judgement.silent:
            member = next((one for one in self.alive if one.pid == holder.pid), None)
            if member is not None:
                self.end_silent(member.role, member.epoch, "is silent")
            else:
                log.warning("%s is silent and is replaced", holder.name)
                kill(holder.pid)
        if judgement.calm and self.roster.ready and not self._well:
            self._well = True
            log.info("all is well again: every process is ready and is heard")

    def _tell_starved(self, holder: Holder) -> None:
        if not holder.lease.told:
            holder.lease.told, self._well = True, False
            log.warning(
                "%s is silent since the machine has no time or memory for it, and is waited for",
                holder.name,
            )
