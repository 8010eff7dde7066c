"""`thespis` in a process of its own that is forked, with its engine, from one that has imported all
that they need, where a test is about what they do and not about how they begin."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any
from unittest import mock

from .forkserver import COMMAND, Warm


class Running:
    """What those who start it ask of `asyncio.subprocess.Process`; its stdout, too."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process, self.pid, self.stdout = process, process.pid, self

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    async def readline(self) -> bytes:
        assert self._process.stdout is not None
        return await asyncio.to_thread(self._process.stdout.readline)

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        code = await asyncio.to_thread(self._process.wait)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        return code


def begun(
    warm: Warm,
    arguments: tuple[str, ...],
    stderr: int | IO[bytes],
    env: Mapping[str, str] | None,
) -> "subprocess.Popen[bytes]":
    """`thespis` with these arguments. `stderr`: DEVNULL, or a file."""
    with open(os.devnull, "wb") as nowhere:
        return warm.popen(
            ["python", "-P", "-m", COMMAND, *arguments],
            stderr=nowhere if isinstance(stderr, int) else stderr,
            env=dict(os.environ if env is None else env),
            pass_fds=(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )


@contextmanager
def commands_start_warm(warm: Warm) -> Iterator[None]:
    """Those that this process starts through asyncio."""
    execute = asyncio.create_subprocess_exec

    async def start(*command: str, **options: Any) -> Any:
        if command[1:4] != ("-P", "-m", "thespis"):
            return await execute(*command, **options)
        return Running(begun(warm, command[4:], options["stderr"], options.get("env")))

    with mock.patch.object(asyncio, "create_subprocess_exec", start):
        yield
