"""The director's end of its janitor: it is told of every process, replaced when it ends or is
stopped, and not relied upon."""

import asyncio
import logging
import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from .exit_cause import how
from .janitor import GRACE_SECONDS, start_janitor
from .processes import RETRY_SECONDS, Noting, ProcessWatcher, kill, reap_all
from .run_dir import remove_run
from .threads import children_of, is_stopped

log = logging.getLogger(__name__)

JANITOR = "janitor"
"""What those who watch know it by."""
FINISH_SECONDS = 2 * GRACE_SECONDS + 1.0
"""What a janitor may take to end when the director's work is done."""


class JanitorKeeper:
    """Made before the director has a thread or a loop, and finished when it has none any more."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._living: Callable[[], list[int]] = list
        self._note: Noting | None = None
        self._number = 0
        """How many there have been."""
        self._made_at = 0.0
        self._pid: int | None = None
        self._pipe = -1
        self._told = False
        """The log says already that the machine gives no process for it."""
        self._start()

    def keep(self, watcher: ProcessWatcher, living: Callable[[], list[int]], note: Noting) -> None:
        """Replace it from now on. `living`: the processes that a successor must know of; `note`:
        told what those who watch are to know."""
        self._living, self._note = living, note
        self._watch(watcher)

    def tell(self, pid: int) -> None:
        """Of a new process of the run."""
        try:
            os.write(self._pipe, f"{pid}\n".encode())
        except BlockingIOError:
            self._replace("does not read")
        except OSError:
            log.debug("the janitor has just ended; its successor is told of all")

    def check(self) -> None:
        """One that is stopped would not clean up after the director's death."""
        if self._pid is not None and is_stopped(self._pid):
            self._replace("is stopped")

    def finish(self) -> None:
        """Nothing of the run is left, whatever has become of the janitor."""
        if self._pipe >= 0:
            os.close(self._pipe)
        if self._pid is None or not _has_finished(self._pid):
            for child in children_of(os.getpid()):
                kill(child)
            reap_all()
        remove_run(self._run_dir)

    def _start(self) -> None:
        self._pid, self._pipe = start_janitor(self._run_dir)
        os.set_blocking(self._pipe, False)
        self._number += 1
        self._tell("ready")

    def _watch(self, watcher: ProcessWatcher) -> None:
        assert self._pid is not None
        self._made_at = asyncio.get_running_loop().time()
        try:
            watcher.watch(self._pid, lambda pid, status: self._ended(watcher, status))
        except OSError as error:
            self._put_off(watcher, error)

    def _replace(self, why: str) -> None:
        if self._pid is not None:
            log.warning("the janitor %s and is replaced", why)
            kill(self._pid)

    def _ended(self, watcher: ProcessWatcher, status: int | None) -> None:
        log.warning("the janitor has ended; a new one is made")
        self._tell("ended", how(status))
        self._forget()
        loop = asyncio.get_running_loop()
        soon = loop.time() - self._made_at < RETRY_SECONDS
        loop.call_later(RETRY_SECONDS if soon else 0.0, self._remake, watcher)

    def _remake(self, watcher: ProcessWatcher) -> None:
        try:
            self._start()
        except OSError as error:
            self._put_off(watcher, error)
            return
        self._told = False
        for pid in self._living():
            self.tell(pid)
        self._watch(watcher)

    def _put_off(self, watcher: ProcessWatcher, error: OSError) -> None:
        if not self._told:
            log.error(
                "the janitor cannot be started now (%s); again every %g s",
                error.strerror,
                RETRY_SECONDS,
            )
        self._told = True
        self._forget()
        asyncio.get_running_loop().call_later(RETRY_SECONDS, self._remake, watcher)

    def _tell(self, what: Literal["ended", "ready"], why: str = "") -> None:
        if self._note is not None:
            self._note(JANITOR, self._number, what, why)

    def _forget(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
        self._pid, self._pipe = None, -1


def _has_finished(pid: int) -> bool:
    """Whether a janitor whose pipe is closed does its work; it is reaped, killed if need be."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    if is_stopped(pid) or not poller.poll(FINISH_SECONDS * 1000):
        kill(pid)
    try:
        return os.waitpid(pid, 0)[1] == 0
    except ChildProcessError:
        return False
    finally:
        os.close(handle)
