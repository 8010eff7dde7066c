"""Processes and their end: the only file of the director that forks, waits and kills."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Literal

import msgspec

from ..kernel.launch import Launch, group_signals_held
from . import zygote
from .leases import Lease

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""After the machine has given no process, or no file for it."""

Ended = Callable[[int, int | None], None]
"""Called with a pid and, for the director's own children, the wait status."""
Noting = Callable[[str, int, Literal["ended", "ready"], str], None]
"""Called with a name, which process of that name it is, what became of it, and why."""


class ProcessWatcher:
    """Death is a file descriptor: waits for processes, and reaps those that are ours."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handles: set[int] = set()
        self.children: set[int] = set()
        """The director's own that are watched."""

    def watch(self, pid: int, ended: Ended, ours: bool = True) -> int:
        """Call `ended` when `pid` has ended; returns a handle for `forget`. `ours`: reap it, once
        per process.

        Raises OSError where there is no file to watch it with: it has been killed and reaped then,
        if it is ours.
        """
        try:
            with ExitStack() as opened:
                handle = os.pidfd_open(pid)
                opened.callback(os.close, handle)
                self._loop.add_reader(handle, self._fired, handle, pid, ended, ours)
                opened.pop_all()
        except ProcessLookupError:
            self._loop.call_soon(ended, pid, None)
            return -1
        except OSError:
            if ours:
                kill(pid)
                os.waitpid(pid, 0)
            raise
        self._handles.add(handle)
        if ours:
            self.children.add(pid)
        return handle

    def forget(self, handle: int) -> None:
        if handle in self._handles:
            self._handles.remove(handle)
            self._loop.remove_reader(handle)
            os.close(handle)

    def _fired(self, handle: int, pid: int, ended: Ended, ours: bool) -> None:
        self.forget(handle)
        self.children.discard(pid)
        ended(pid, os.waitpid(pid, os.WNOHANG)[1] if ours else None)

    def reap_strangers(self) -> None:
        """Children that nobody watches: those of actors that have died, and what a zygote made and
        had no time to report."""
        while (pid := _ended_child()) is not None and pid not in self.children:
            os.waitpid(pid, 0)


def kill(pid: int) -> None:
    """SIGKILL to a process that is not reaped yet."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        log.info("process %d has ended already", pid)


def is_child(pid: int) -> bool:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _ended_child() -> int | None:
    """One that can be reaped."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if ended is None else ended.si_pid


def reap_all() -> None:
    """Every child that has ended, known or not."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def spawn(
    module: str,
    arguments: Sequence[str],
    *,
    stdin: int,
    stdout: int,
    extra: dict[str, str] | None = None,
) -> int:
    """An interpreter of its own that runs `module`; returns its pid. Without -P the user's
    `queue.py` could win."""
    actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)]
    command = [sys.executable, "-P", "-m", module, *arguments]
    with group_signals_held():
        return os.posix_spawn(
            sys.executable, command, {**os.environ, **(extra or {})}, file_actions=actions
        )


ONE_TEXT_AT_A_TIME = {"TOKENIZERS_PARALLELISM": "false"}
"""A pool of threads for each tokenizer would never have a second text to work on."""


def spawn_actor(launch: Launch, inherit: int | None = None) -> int:
    """An actor with its own interpreter. `inherit`: a descriptor that it alone gets, as it is."""
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if inherit is not None:
            os.set_inheritable(inherit, True)
        arguments = [msgspec.json.encode(launch).decode()]
        return spawn(
            "thespis.actors.kernel.entry", arguments, stdin=null, stdout=2, extra=ONE_TEXT_AT_A_TIME
        )
    finally:
        os.close(null)
        if inherit is not None:
            os.set_inheritable(inherit, False)


class Zygote:
    """The director's end of a zygote and its standby. Orders may be given before it has finished
    its imports.

    `forked` is told role, epoch and pid of each process made, `stands_by` the pid of each standby.
    Raises OSError where the machine gives no process or no file for it.
    """

    def __init__(
        self,
        model: str,
        preload: Sequence[str],
        forked: Callable[[str, int, int], None],
        stands_by: Callable[[int], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._forked, self._stands_by = forked, stands_by
        self._waiting: dict[tuple[str, int], Launch] = {}
        """Orders that were not answered, by role and epoch."""
        self.standby: int | None = None
        """Pid of the copy that takes over when the zygote ends."""
        self.lease = Lease(self._loop.time())
        """Since it last answered, or was first asked after that."""
        self.loaded = False
        """Its imports are done."""
        self._rest = b""
        with ExitStack() as theirs, ExitStack() as ours:
            theirs_in, self._orders = os.pipe()
            theirs.callback(os.close, theirs_in)
            ours.callback(os.close, self._orders)
            self._answers, theirs_out = os.pipe()
            theirs.callback(os.close, theirs_out)
            ours.callback(os.close, self._answers)
            os.set_blocking(self._orders, False)
            os.set_blocking(self._answers, False)
            self._loop.add_reader(self._answers, self._hear)
            ours.callback(self._loop.remove_reader, self._answers)
            self.pid = spawn(
                zygote.__name__,
                [str(os.getpid()), model, *preload],
                stdin=theirs_in,
                stdout=theirs_out,
                extra=zygote.ENVIRONMENT,
            )
            ours.pop_all()

    def fork(self, launch: Launch) -> None:
        if not self._waiting:
            self.lease.renew(self._loop.time())
        self._waiting[launch.role, launch.epoch] = launch
        self._order(msgspec.json.encode(launch))

    def _order(self, line: bytes) -> None:
        try:
            os.write(self._orders, line + b"\n")
        except BrokenPipeError:
            log.info("the zygote has just ended; what it should make is made by the next one")
        except BlockingIOError:
            log.warning("the zygote does not read and is replaced")
            kill(self.pid)

    def want_standby(self) -> None:
        self._order(b"")

    def promote(self) -> list[Launch] | None:
        """After its end: the standby is the zygote now. Returns the orders that were not answered,
        which are void; None where there is no standby."""
        self._hear()
        if self.standby is None:
            return None
        self.pid, self.standby = self.standby, None
        self.lease = Lease(self._loop.time())
        waiting = list(self._waiting.values())
        self._waiting.clear()
        return waiting

    @property
    def owes(self) -> bool:
        """An order has not been answered yet."""
        return bool(self._waiting)

    @property
    def closed(self) -> bool:
        return self._answers < 0

    def close(self) -> list[Launch]:
        """After its end, or to end it: the orders that were not answered."""
        if self._answers >= 0:
            self._hear()
            self._loop.remove_reader(self._answers)
            os.close(self._answers)
            os.close(self._orders)
            self._answers = self._orders = -1
        return list(self._waiting.values())

    def _hear(self) -> None:
        while True:
            try:
                data = os.read(self._answers, 4096)
            except BlockingIOError:
                return
            if not data:
                self._loop.remove_reader(self._answers)
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            self.lease.renew(self._loop.time())
            for line in lines:
                match line.decode().split():
                    case ["standby", pid]:
                        self.standby = int(pid)
                        self._stands_by(self.standby)
                    case [role, epoch, pid]:
                        self._waiting.pop((role, int(epoch)), None)
                        self._forked(role, int(epoch), int(pid))
                    case _:
                        self.loaded = True
                        self.want_standby()
