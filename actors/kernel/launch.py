"""How one engine process begins and what it is told: role, epoch, run directory, module."""

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import msgspec

from ...protocol.topology import DECODE_WORKER, kind_of
from . import last_words
from .logs import configure_logging

_PR_SET_PDEATHSIG = 1
_GROUP_SIGNALS = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
)
"""What terminals, service managers and containers send to every process of a group. The director
gets them too, and ends the others in order."""

YIELDING = 10
"""Niceness: a tenth of a processor that is wanted by another, too."""


class Launch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a process needs to find the director; the rest comes in `Welcome`."""

    role: str
    epoch: int
    run_dir: str
    module: str
    """Has `main(launch: Launch) -> None`."""
    parent: int = 0
    """Pid of the director that the process must not outlive; 0: whoever the parent is."""
    outside: bool = True
    """No work in hand is to blame for the end of the incarnation before: it was killed from
    outside, or there was none."""

    @property
    def directory(self) -> Path:
        return Path(self.run_dir)


def director_endpoint(run_dir: Path | str) -> str:
    return f"ipc://{run_dir}/director.sock"


def die_with_parent() -> None:
    """SIGKILL when the parent ends. Call after the reparenting and from the main thread, whose life
    it follows."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def give_way(pid: int = 0) -> None:
    """For work on what one caller sent: processors go first to what all streams pass. `pid`: of a
    child that has one thread yet; 0: this process."""
    niceness = os.getpriority(os.PRIO_PROCESS, pid)
    os.setpriority(os.PRIO_PROCESS, pid, niceness + YIELDING)


def settle() -> None:
    """Between a process's start and its work. What is there now lives as long as the process: no
    collection walks through it any more. What the start has freed goes back to the system; glibc
    would keep it, hundreds of megabytes where a model was read and its weights packed."""
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other libraries of C have none
    if trim is not None:
        trim(0)


@contextmanager
def group_signals_held() -> Iterator[None]:
    """A child made meanwhile gets them when it has called `ignore_group_signals`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _GROUP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hold_group_signals() -> None:
    """Until this process has ended: it is about to, and in order."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _GROUP_SIGNALS)


def ignore_group_signals() -> None:
    """For this process and its children. SIGKILL still ends it, SIGSTOP stops it."""
    for number in _GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _GROUP_SIGNALS)


def enter(launch: Launch) -> None:
    """Become `launch.role`, which dies with the director alone, and run its module to the end."""
    import setproctitle

    ignore_group_signals()
    parent = launch.parent or os.getppid()
    die_with_parent()
    if os.getppid() != parent or parent == 1:
        sys.exit(1)  # the director died before we asked to follow it
    kind = kind_of(launch.role)
    setproctitle.setproctitle(f"thespis {kind if kind == DECODE_WORKER else launch.role}")
    configure_logging(
        launch.role,
        launch.epoch,
        stream=last_words.keep(last_words.path_of(launch.directory, launch.role, launch.epoch)),
    )
    import_module(launch.module).main(launch)
