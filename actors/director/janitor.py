"""The janitor: outlives the director by a moment, so that nothing of a run is left behind after any
end of it.

Forked from the director: the first before it has a thread or a socket, a later one closes what it
inherits and calls nothing but the kernel. It blocks on a pipe whose other end only the director
holds: each line is the pid of a new process of the run; the end of the pipe is the end of the
director, in order or by kill -9.
"""

import contextlib
import os
import select
import signal
import time
from pathlib import Path

from ..kernel.launch import group_signals_held, ignore_group_signals
from .run_dir import remove_run

GRACE_SECONDS = 2.0
"""How long the run's processes get to die with their parent before they are killed."""


def start_janitor(run_dir: Path) -> tuple[int, int]:
    """Fork it; returns (its pid, the descriptor to write pids to)."""
    reader, writer = os.pipe()
    with group_signals_held():
        pid = os.fork()
    if pid:
        os.close(reader)
        return pid, writer
    code = 1
    try:
        os.setpgid(0, 0)  # a signal to the director's group is not for us
        signal.set_wakeup_fd(-1)  # that of the director's loop, if it has one already
        ignore_group_signals()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1):
            os.dup2(null, fd)
        os.dup2(reader, 3)
        os.closerange(4, 65536)
        import setproctitle

        setproctitle.setproctitle("thespis janitor")
        watch(3, run_dir)
        code = 0
    finally:
        os._exit(code)


def watch(pipe: int, run_dir: Path) -> None:
    """Follow the run to its end, then remove what it left."""
    alive = _follow(pipe)
    _outlive(alive, time.monotonic() + GRACE_SECONDS)
    for handle in alive:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    _outlive(alive, time.monotonic() + GRACE_SECONDS)
    remove_run(run_dir)


def _follow(pipe: int) -> set[int]:
    """Until the pipe ends: the run's living processes, as pidfds."""
    poller = select.poll()
    poller.register(pipe, select.POLLIN)
    alive: set[int] = set()
    rest = b""
    while True:
        for fd, _ in poller.poll():
            if fd != pipe:
                poller.unregister(fd)
                os.close(fd)
                alive.discard(fd)
                continue
            data = os.read(pipe, 4096)
            if not data:
                return alive
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                with contextlib.suppress(ProcessLookupError):
                    handle = os.pidfd_open(int(line))
                    alive.add(handle)
                    poller.register(handle, select.POLLIN)


def _outlive(alive: set[int], deadline: float) -> None:
    """Until all of `alive` have ended, at most until `deadline`; those that ended are taken out."""
    poller = select.poll()
    for handle in alive:
        poller.register(handle, select.POLLIN)
    while alive and (left := deadline - time.monotonic()) > 0:
        for fd, _ in poller.poll(left * 1000):
            poller.unregister(fd)
            os.close(fd)
            alive.discard(fd)
