"""Keeps a zygote and its standby alive, within a budget."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from ..kernel.launch import Launch
from .exit_cause import how, was_killed
from .leases import Holder
from .processes import RETRY_SECONDS, Ended, Noting, Zygote, kill
from .roster import RestartBudget

log = logging.getLogger(__name__)

ZYGOTE, STANDBY = "zygote", "zygote-standby"
"""What those who watch know the two by."""


class ZygoteKeeper:
    """`watch` is given the zygotes that are made. `forked` is told role, epoch and pid of each
    process that one of them made, `void` the orders that nobody answers any more, `give_up` that no
    zygote lives for long, `changed` that one has ended, `note` what those who watch are told."""

    def __init__(
        self,
        model: str,
        preload: Sequence[str],
        budget: RestartBudget,
        *,
        watch: Callable[[int, Ended], None],
        forked: Callable[[str, int, int], None],
        void: Callable[[list[Launch]], None],
        give_up: Callable[[str], None],
        changed: Callable[[], None],
        note: Noting,
    ) -> None:
        self._model, self._preload, self._budget, self._watch_child = model, preload, budget, watch
        self._forked, self._void, self._give_up, self._changed = forked, void, give_up, changed
        self._note = note
        self._loop = asyncio.get_running_loop()
        self._zygote: Zygote | None = None
        self.restarts = 0
        self._standbys = 0
        """That have been made."""
        self._closing = False
        self._has_loaded = False
        """One of them has: what fails before that fails again."""
        self._put_off = False
        """The log says already that the machine gives no process or no file for it."""

    @property
    def pid(self) -> int | None:
        return None if self._zygote is None else self._zygote.pid

    def holder(self, forking: float, loading: float) -> Holder | None:
        """Its lease, while it owes an answer: `forking` seconds, or `loading` until its imports are
        done."""
        zygote = self._zygote
        if zygote is None or not zygote.owes:
            return None
        return Holder("the zygote", zygote.pid, zygote.lease, forking if zygote.loaded else loading)

    def fork(self, launch: Launch) -> None:
        """Raises OSError where there is no zygote and none can be made."""
        (self._zygote or self._make()).fork(launch)

    def want(self) -> None:
        """There is one, or there will be when the machine gives a process and files for it."""
        if self._zygote is None and not self._closing:
            try:
                self._make()
            except OSError as error:
                self._tell_put_off("the zygote", error)
                self._loop.call_later(RETRY_SECONDS, self.want)

    def close(self) -> None:
        """End it and its standby; nobody takes over."""
        self._closing = True
        if self._zygote is not None:
            if self._zygote.standby is not None:
                kill(self._zygote.standby)
            if not self._zygote.closed:
                kill(self._zygote.pid)

    def _make(self) -> Zygote:
        zygote = Zygote(
            self._model, self._preload, self._forked, lambda pid: self._stands_by(zygote, pid)
        )
        try:
            self._watch(zygote, zygote.pid)
        except OSError:
            zygote.close()
            raise
        self._zygote = zygote
        self._note(ZYGOTE, self.restarts + 1, "ready", "")
        return zygote

    def _watch(self, zygote: Zygote, pid: int) -> None:
        self._watch_child(pid, lambda pid, status: self._ended(zygote, pid, status))
        self._put_off = False

    def _stands_by(self, zygote: Zygote, pid: int) -> None:
        try:
            self._watch(zygote, pid)
        except OSError as error:
            self._tell_put_off("the zygote's standby", error)
            zygote.standby = None
            self._loop.call_later(RETRY_SECONDS, self._want_standby, zygote)
            return
        self._standbys += 1
        self._note(STANDBY, self._standbys, "ready", "")

    def _tell_put_off(self, what: str, error: OSError) -> None:
        if not self._put_off:
            log.error(
                "%s cannot be kept now (%s); again every %g s", what, error.strerror, RETRY_SECONDS
            )
        self._put_off = True

    def _want_standby(self, zygote: Zygote) -> None:
        if self._zygote is zygote and not zygote.closed and not self._closing:
            zygote.want_standby()

    def _ended(self, zygote: Zygote, pid: int, status: int | None) -> None:
        """The zygote, or its standby. Its children live on; what it had not made yet, the next one
        makes."""
        if self._closing:
            self._bury(zygote, pid)
            return
        if not self._has_loaded and not zygote.loaded and not was_killed(status):
            self._bury(zygote, pid)
            self._give_up(
                f"The zygote ended while it imported the model's libraries ({how(status)}); see "
                f"the log."
            )
            return
        self._has_loaded |= zygote.loaded
        if not self._budget.spend(self._loop.time(), pid):
            self._bury(zygote, pid)
            self._give_up(
                "The zygote, from which the model's processes are forked, ended again and again; "
                "see the log."
            )
            return
        if pid == zygote.standby:
            log.warning("the zygote's standby has ended; a new one is made")
            self._note(STANDBY, self._standbys, "ended", how(status))
            zygote.standby = None
            zygote.want_standby()
            return
        self.restarts += 1
        self._note(ZYGOTE, self.restarts, "ended", how(status))
        waiting = zygote.promote()
        if waiting is not None:
            log.warning("the zygote has ended; its standby takes over")
            self._note(ZYGOTE, self.restarts + 1, "ready", "")
            zygote.want_standby()
        else:
            log.warning("the zygote has ended; a new one is started")
            waiting = zygote.close()
            self._zygote = None
            self.want()
        self._void(waiting)

    def _bury(self, zygote: Zygote, pid: int) -> None:
        """No successor takes over."""
        if pid == zygote.standby:
            zygote.standby = None
        else:
            zygote.close()
        if zygote.closed and zygote.standby is None:
            self._zygote = None
        self._changed()
