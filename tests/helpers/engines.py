"""Engines of fakes, somebody who watches them, and the search for what they left behind."""

import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import zmq

from thespis.actors.director.config import Cast
from thespis.actors.kernel.link import DirectorLink
from thespis.frontends.engine import EngineHandle, start_engine
from thespis.protocol.channel import socket_path
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.edges.control import (
    AskLive,
    AskStatus,
    Leave,
    Live,
    Peers,
    Ready,
    Status,
    Welcome,
)
from thespis.protocol.facts import ModelFacts
from thespis.protocol.topology import HTTP, RANK, kind_of
from thespis.protocol.wire import Message

from .facts import DEMO

FAKES = Path(__file__).resolve().parent.parent / "fakes"
ROLES = (
    "fetcher",
    "preprocessor",
    "decode-worker",
    "encoder-cache",
    "scheduler",
    "gpu-runner",
    "detokenizer",
)


STARTED_ALONE: dict[str, tuple[str, ...]] = {"forked": (), "preload": ()}
"""Of `fake_engine`: each role has an interpreter of its own."""


def fake_engine(
    special: dict[str, str] | None = None,
    *,
    lease_seconds: float = 3.0,
    ranks: int = 1,
    **options: Any,
) -> EngineHandle:
    """An engine whose roles are all played by `plain`, but for `special`. `options`: of its `Cast`
    and of `start_engine`."""
    played = ROLES if ranks == 1 else (*ROLES, RANK)
    modules = dict.fromkeys(played, "plain") | (special or {})
    given = {name: options.pop(name) for name in Cast.__struct_fields__ if name in options}
    cast = cast_of(modules, **{**forked_together(modules), **given})
    config = EngineConfig(lease_seconds=lease_seconds, tensor_parallel_size=ranks)
    return start_engine(config, cast=cast, **options)


def cast_of(
    modules: Mapping[str, str] | None, facts: ModelFacts | None = DEMO, **given: Any
) -> Cast:
    """These modules of `fakes/`; the other roles are played as shipped."""
    return Cast(modules=dict(modules or {}), python_path=(str(FAKES),), facts=facts, **given)


def forked_together(modules: Mapping[str, str]) -> dict[str, Any]:
    """Of a `Cast`: all who play, by role, come from one process that has imported them, which
    halves what a start costs. The HTTP frontend inherits its socket and is started alone.
    """
    kinds = dict.fromkeys(kind_of(role) for role in modules if role != HTTP)
    return {"forked": tuple(kinds), "preload": tuple(dict.fromkeys(modules.values()))}


class Spectator:
    """A client that only looks on."""

    def __init__(self, run_dir: Path, name: str = "spectator") -> None:
        self.role = f"client-{name}"
        self._context: zmq.Context[Any] = zmq.Context()
        self._link = DirectorLink(self._context, str(run_dir), self.role, 0)
        self.welcome = self._link.hello()
        if isinstance(self.welcome, Welcome):
            self._link.send(
                Ready(
                    self.role,
                    0,
                    socket_path(run_dir, self.role, 0),
                    socket_path(run_dir, self.role, 0, "ctl"),
                )
            )

    def wait(self, wanted: Callable[[Any], bool], seconds: float = 60.0) -> Any:
        """The first message from now on that is wanted."""
        deadline = time.monotonic() + seconds
        while self._link.socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            message = self._link.receive()
            if message is not None and wanted(message):
                return message
        raise TimeoutError("the director did not say it")

    def peers(self, **epochs: int) -> Peers:
        """The table in which these roles (dashes as underscores) are ready in these epochs or
        later."""
        want = {role.replace("_", "-"): epoch for role, epoch in epochs.items()}

        def enough(message: Any) -> bool:
            return isinstance(message, Peers) and all(
                role in message.peers and message.peers[role].epoch >= epoch
                for role, epoch in want.items()
            )

        table = self.wait(enough)
        assert isinstance(table, Peers)
        return table

    def status(self) -> Status:
        self.send(AskStatus())
        status = self.wait(lambda message: isinstance(message, Status))
        assert isinstance(status, Status)
        return status

    def live(self) -> Live:
        """What those who watch are told."""
        self.send(AskLive(1))
        live = self.wait(lambda message: isinstance(message, Live))
        assert isinstance(live, Live)
        return live

    def send(self, message: Message) -> None:
        self._link.send(message)

    def send_raw(self, data: bytes) -> None:
        self._link.socket.send(data)

    def close(self) -> None:
        if isinstance(self.welcome, Welcome):
            self._link.send(Leave(self.role, 0))
        self._link.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def processes_of(director: int) -> dict[int, str]:
    """Living processes of the director's session, by pid: their titles."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(session) == director and state not in "ZX":
            found[int(entry.name)] = title
    return found


@contextmanager
def without_files(pid: int) -> Iterator[None]:
    """The process keeps the files that it has and gets no more."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def segments_of(run_dir: Path) -> list[str]:
    return [name for name in os.listdir("/dev/shm") if run_dir.name in name]


def assert_nothing_left(director: int, run_dir: Path, seconds: float = 30.0) -> None:
    """No process of the session, no segment, no run directory; what is ending is given
    `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        left = (processes_of(director), segments_of(run_dir), run_dir.exists())
        if left == ({}, [], False):
            return
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.05)
