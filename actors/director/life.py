"""From the face's one line of configuration to the director's exit code."""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from ..kernel.launch import hold_group_signals
from ..kernel.logs import configure_logging
from .actor import Director
from .config import Announcement, DirectorConfig
from .janitor_keeper import JanitorKeeper
from .run_dir import sweep_stale_runs

_PR_SET_CHILD_SUBREAPER = 36
_FACE = 0
"""stdin."""


def live(run_dir: Path, janitor: JanitorKeeper) -> int:
    """Direct one engine until its end."""
    import setproctitle

    line = _read_line(_FACE)
    setproctitle.setproctitle("thespis director")
    configure_logging("director")
    announce = _announcer()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    sweep_stale_runs(run_dir.parent)
    config = msgspec.json.decode(line, type=DirectorConfig)
    if path := config.cast.python_path:
        before = filter(None, [os.environ.get("PYTHONPATH")])
        os.environ["PYTHONPATH"] = os.pathsep.join([*path, *before])
    if config.server is not None and config.server.listen_fd is not None:
        os.set_inheritable(config.server.listen_fd, False)

    async def direct() -> int:
        director = Director(config, run_dir, announce, janitor)
        loop = asyncio.get_running_loop()
        if config.face_pid is not None:
            loop.add_reader(_FACE, _face_speaks, loop, director)
        try:
            return await director.run()
        finally:
            # a loop that closes takes its handlers away, and one more signal would kill what tidies
            # up
            hold_group_signals()

    return asyncio.run(direct())


def _face_speaks(loop: asyncio.AbstractEventLoop, director: Director) -> None:
    """After the configuration, a line or the end of the pipe says that the face lets go."""
    os.read(_FACE, 4096)
    loop.remove_reader(_FACE)
    director.face_gone()


def _read_line(fd: int) -> bytes:
    """Up to the first newline, and no byte further."""
    data = b""
    while not data.endswith(b"\n"):
        piece = os.read(fd, 1 << 16)
        if not piece:
            raise SystemExit("the face ended before it had given the configuration")
        data += piece
    return data


def _announcer() -> Callable[[Announcement], None]:
    """Writes to the stdout the face gave us; everything else that is printed goes to stderr."""
    out = os.dup(1)
    os.dup2(2, 1)

    def announce(announcement: Announcement) -> None:
        try:
            os.write(out, msgspec.json.encode(announcement) + b"\n")
        except BrokenPipeError:
            print("the face does not listen any more", file=sys.stderr)

    return announce
