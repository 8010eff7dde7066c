"""What is forked finds what it would have been exec'ed with, and nothing else."""

import ctypes
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from .forkserver import MOST_BYTES, Adopted, ForkServer, Warm, engines_start_warm
from .torchless import TORCHLESS, played_by

pytestmark = pytest.mark.process
PROGRAM = """
import os, signal, sys, tempfile
print(__name__, sys.argv[1:], os.environ["FAKE_WORD"], tempfile.gettempdir())
print("torch" in sys.modules)
print([fd for fd in range(100) if os.path.exists(f"/proc/self/fd/{fd}")], sys.stdin.readline())
print(signal.getsignal(signal.SIGINT).__name__, int(signal.getsignal(signal.SIGTERM)))
print(os.getppid(), os.getsid(0) == os.getpid(), os.getcwd())
from thespis.actors.kernel import launch
print("gives way" if launch.YIELDING else "gives no way")
sys.exit("That is all.")
"""


@contextmanager
def begun(
    warm: Warm, tmp_path: Path, listening: IO[bytes], **more: str
) -> Iterator["subprocess.Popen[bytes]"]:
    (tmp_path / "program_of_a_test.py").write_text(PROGRAM)
    with (tmp_path / "log").open("wb") as log:
        process = warm.popen(
            [sys.executable, "-P", "-m", "program_of_a_test", "--word", "two words"],
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(tmp_path), "FAKE_WORD": "said", **more},
            pass_fds=[listening.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    with process:
        yield process


@pytest.mark.parametrize("forked", [True, False])
def test_it_is_as_if_it_had_been_executed(warm: Warm, tmp_path: Path, forked: bool) -> None:
    """Where others of its surroundings than are read later differ from the server's, it is."""
    varied = "TORCHINDUCTOR_CACHE_DIR" if forked else "OMP_NUM_THREADS"
    with (
        (tmp_path / "listening").open("wb") as listening,
        begun(warm, tmp_path, listening, **{varied: "3"}) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"hello\n")
        said, number = process.stdout.read(), listening.fileno()
    differing = sorted(dict(os.environ.items() ^ warm.environment.items()))
    assert type(process) is (Adopted if forked else subprocess.Popen), differing
    assert said.decode().splitlines() == [
        f"__main__ ['--word', 'two words'] said {os.environ['TMPDIR']}",
        f"{forked}",
        f"[0, 1, 2, {number}] hello",
        "",
        "default_int_handler 0",
        f"{os.getpid()} True {os.getcwd()}",
        f"gives {'no ' if forked else ''}way",
    ]
    assert (tmp_path / "log").read_text() == "That is all.\n"
    assert process.returncode == 1


def test_it_outlives_the_thread_that_asked_first(tmp_path: Path) -> None:
    """As one of a test's event loop, whose end is that of its children which die with a parent."""
    fakes: Any = SimpleNamespace(**played_by(TORCHLESS))
    (tmp_path / "short.py").write_text("")
    ended: list[int] = []

    def start(*_: object) -> Any:
        return warm.popen(
            [sys.executable, "-P", "-m", "short"],
            stderr=None,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            pass_fds=[],
        )

    def live() -> None:
        with warm.start_director(start, tmp_path, fakes, None) as process:
            ended.append(process.wait())

    with engines_start_warm() as warm:
        for _ in range(2):
            thread = threading.Thread(target=live)
            thread.start()
            thread.join()
    assert ended == [0, 0]


PR_GET_CHILD_SUBREAPER = 37


def adopts() -> int:
    """Whether this process takes orphans, by the kernel's word."""
    told = ctypes.c_int()
    ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(told))
    return told.value


def test_who_waits_for_one_server_does_not_end_the_adopting_for_another() -> None:
    """Two threads with engines of two kinds: the first that was answered let the other's child go,
    and the second left this process adopting for ever."""
    before = adopts()
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2))
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        (one, first), (other, second) = (map(stack.enter_context, pair) for pair in pairs)
        waits = pool.submit(ForkServer(one).start, "m", [], {}, {})
        first.recv(MOST_BYTES)
        waits_too = pool.submit(ForkServer(other).start, "m", [], {}, {})
        select.select([second], [], [], 0.1)
        assert adopts() == 1
        first.send(b"7")
        assert waits.result() == 7
        second.recv(MOST_BYTES)
        assert adopts() == 1
        second.send(b"7")
        assert waits_too.result() == 7
    assert adopts() == before
