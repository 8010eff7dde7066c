"""A fork server: engines that tests start begin in a process that has imported torch, transformers
and the actors, which an interpreter of their own would import anew, for four seconds of CPU time.

`python -P -m thespis.tests.helpers.forkserver FD MODULE...` imports the modules and serves a
socket: each message is an `Order`, with descriptors; each answer is the pid of a process that runs
a module as `python -m` would, forked twice, so that it becomes the child of whoever asked, who
adopts it. A director that is made so has a fork server of its own, its copy of this one, for its
zygote and for what is not forked from that.

What starts an engine as shipped, with interpreters, is what runs in a process of its own (the
command line, the examples) and what asks for the fixture `started_as_shipped`; what asks for
`commands_start_warm` has the command line forked, too.
"""

import atexit
import ctypes
import fcntl
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any
from unittest import mock

import msgspec

from thespis.actors.director import processes, zygote
from thespis.actors.director.config import FORKED, MODULES, Cast, DirectorConfig
from thespis.actors.kernel import launch
from thespis.actors.kernel.launch import die_with_parent, ignore_group_signals, settle
from thespis.frontends import engine
from thespis.protocol.checkpoint.folder import demo_model
from thespis.protocol.topology import FACTS, RANK
from thespis.tests.helpers.surroundings import as_exec_would, without_what_varies

MODULE = "thespis.tests.helpers.forkserver"
DIRECTOR = "thespis.actors.director"
COMMAND = "thespis.__main__"
"""The command line, whose engine begins in a copy of what it began in."""
_LIGHT = tuple(module for kind, module in MODULES.items() if kind not in FORKED)
LIGHT = (*_LIGHT, f"{DIRECTOR}.life", engine.HTTP_MODULE)
"""What needs no torch: a process without is forked in half the time."""
PRELOAD = tuple(dict.fromkeys((*Cast().imports(), *MODULES.values(), *LIGHT)))
"""Heaviest first."""
BESIDE = "PYTEST_FORKSERVER"
"""The variable with the descriptor of a fork server that is there already."""
MOST_BYTES, MOST_FILES = 1 << 20, 16
"""Of an order."""
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37
_ONE_AT_A_TIME = threading.Lock()
"""One order of this process, to whichever server: whose child an orphan becomes is set for all."""
_ABOVE = 1000
"""Descriptors that have come wait there while their numbers are made free."""


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process. The descriptors that come with it get these numbers."""

    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    numbers: list[int]
    session: bool
    """It begins a session."""


class ForkServer:
    """The end of whoever asks."""

    def __init__(self, connection: socket.socket, pid: int | None = None) -> None:
        """`pid`: of the server, where it is this process's child."""
        self._connection, self._pid = connection, pid

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        files: Mapping[int, int],
        session: bool = False,
    ) -> int:
        """`files`: by the number that the process knows it by, a descriptor of this one. Returns
        the pid of a child of this process. Raises OSError where there is none."""
        order = Order(module, list(arguments), dict(environment), os.getcwd(), list(files), session)
        with _ONE_AT_A_TIME, _adopting():
            socket.send_fds(self._connection, [msgspec.json.encode(order)], [*files.values()])
            answer = self._connection.recv(64)
        if not answer:
            raise OSError("the fork server has ended")
        return int(answer)

    def fileno(self) -> int:
        return self._connection.fileno()

    def close(self) -> None:
        self._connection.close()
        if self._pid is not None:
            with suppress(ChildProcessError):  # a director reaps whatever has ended
                os.waitpid(self._pid, 0)


@contextmanager
def _adopting() -> Iterator[None]:
    """Orphans among this process's descendants become its children."""
    libc = ctypes.CDLL(None)
    before = ctypes.c_int()
    libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before))
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, before.value)


class Adopted(subprocess.Popen[bytes]):
    """A child that another process has forked."""

    def __init__(self, args: Sequence[str], pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.args, self.pid = args, pid
        self.stdin, self.stdout, self.stderr = stdin, stdout, None
        self.returncode: int | None = None
        self._child_created = True
        self._waitpid_lock = threading.Lock()
        self._sigint_wait_secs = 0.0
        self._input, self._communication_started = None, False


class Warm:
    """Directors of this process's engines, started by fork servers: one for those with torch and
    one for the others, each of which begins with the first of them."""

    def __init__(self, known: ForkServer | None = None) -> None:
        """`known`: for all of them."""
        self._servers = {} if known is None else {True: known, False: known}
        """Of the light, and of the others."""
        self._processes: list[subprocess.Popen[bytes]] = []
        self.environment = without_what_varies(os.environ)
        self._starting = threading.local()
        self._lasting = ThreadPoolExecutor(1)
        """Begins the servers, which die with the thread that they are children of: a test's threads
        end with the test."""

    def start_director(
        self, start: Callable[..., Any], run_dir: Path, directions: DirectorConfig, log: Any
    ) -> "subprocess.Popen[bytes]":
        """As `engine` starts one, by `start`, which calls `popen`."""
        self._starting.light = without_torch(directions.cast)
        process: subprocess.Popen[bytes] = start(run_dir, directions, log)
        return process

    def popen(
        self,
        command: list[str],
        *,
        stderr: IO[bytes] | None,
        env: dict[str, str],
        pass_fds: Sequence[int],
        **others: Any,
    ) -> "subprocess.Popen[bytes]":
        """As `subprocess.Popen` for what `engine` starts, a director. One whose surroundings differ
        from the server's has an interpreter of its own: what is imported may have read them."""
        if without_what_varies(env) != self.environment | {"HF_HUB_OFFLINE": "1"}:
            return subprocess.Popen(command, stderr=stderr, env=env, pass_fds=pass_fds, **others)
        with ExitStack() as stack:
            theirs_in, orders = os.pipe()
            stack.callback(os.close, theirs_in)
            answers, theirs_out = os.pipe()
            stack.callback(os.close, theirs_out)
            files = {0: theirs_in, 1: theirs_out, 2: 2 if stderr is None else stderr.fileno()}
            files |= {fd: fd for fd in pass_fds}
            _, _, _, module, *arguments = command
            light = getattr(self._starting, "light", False)
            server = self._lasting.submit(self._serving, light).result()
            pid = server.start(module, arguments, env, files, session=True)
        return Adopted(command, pid, open(orders, "wb", 0), open(answers, "rb", 0))

    def _serving(self, light: bool) -> ForkServer:
        if light not in self._servers:
            beside = None if light else os.environ.get(BESIDE)
            self._servers[light] = (
                self._begun(LIGHT if light else PRELOAD)
                if beside is None
                else ForkServer(socket.socket(fileno=os.dup(int(beside))))
            )
        return self._servers[light]

    def _begun(self, preload: Sequence[str]) -> ForkServer:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-P", "-m", MODULE, str(theirs.fileno()), *preload],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    env=os.environ | zygote.ENVIRONMENT,
                    pass_fds=[theirs.fileno()],
                )
            )
        return ForkServer(ours)

    def close(self) -> None:
        for server in self._servers.values():
            server.close()
        for process in self._processes:
            process.wait()
        self._lasting.shutdown()


def without_torch(cast: Cast) -> bool:
    """Fakes play all that needs it."""
    needs = [kind for kind in FORKED if kind != RANK and (kind != FACTS or cast.facts is None)]
    return not any(cast.module_of(kind) == MODULES[kind] for kind in needs)


@contextmanager
def engines_start_warm() -> Iterator[Warm]:
    """Those that this process starts."""
    warm = Warm()
    start = partial(warm.start_director, engine._popen)
    try:
        with mock.patch.multiple(engine, subprocess=_like_subprocess(warm.popen), _popen=start):
            yield warm
    finally:
        warm.close()


def _like_subprocess(popen: Callable[..., Any]) -> SimpleNamespace:
    return SimpleNamespace(Popen=popen, PIPE=subprocess.PIPE)


@contextmanager
def nobody_gives_way() -> Iterator[None]:
    """To tests beside this one, which would never be done, while its own time runs out."""
    with mock.patch.object(launch, "YIELDING", 0):
        yield


@contextmanager
def engines_start_as_shipped() -> Iterator[None]:
    with mock.patch.object(engine, "subprocess", subprocess):
        yield


def serve(connection: socket.socket) -> None:
    """Until whoever asks has gone."""
    decoder = msgspec.json.Decoder(Order)
    while True:
        data, files, _, _ = socket.recv_fds(connection, MOST_BYTES, MOST_FILES)
        if not data:
            return
        order = decoder.decode(data)
        pid = zygote.fork_twice(partial(_live, order, files), (connection.fileno(),))
        for fd in files:
            os.close(fd)
        connection.send(str(pid).encode())


def _live(order: Order, files: list[int]) -> None:
    """As one that was just exec'ed, for all that its module can see; never returns."""
    code, copy = 1, None
    try:
        if order.session:
            os.setsid()
        _take_files(dict(zip(order.numbers, files, strict=True)))
        os.chdir(order.folder)
        os.environ.clear()
        os.environ.update(order.environment)
        paths = filter(None, order.environment.get("PYTHONPATH", "").split(os.pathsep))
        sys.path[:0] = [path for path in paths if path not in sys.path]
        tempfile.tempdir = None  # where the variables say now
        sys.argv = ["-m", *order.arguments]
        zygote.reseed()
        if order.module == DIRECTOR:
            copy = copied(ignore_group_signals)
            processes.spawn = partial(_spawn, copy)
        elif order.module == COMMAND:
            copy = copied(as_exec_would)
            popen = Warm(copy).popen
            mock.patch.object(engine, "subprocess", _like_subprocess(popen)).start()
            atexit._clear()
        sys.modules.pop(order.module, None)  # it is run anew, as the main module
        runpy.run_module(order.module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        if order.module == COMMAND:
            atexit._run_exitfuncs()
        if copy is not None:
            copy.close()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _take_files(files: Mapping[int, int]) -> None:
    """`files`, by the number that each gets, and no others."""
    above = {number: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for number, fd in files.items()}
    os.closerange(3, _ABOVE)
    for number, fd in above.items():
        os.dup2(fd, number)
        os.close(fd)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)


@contextmanager
def beside() -> Iterator[None]:
    """A fork server that is a copy of this process, for the tests that it runs."""
    with closing(copied(as_exec_would)) as server:
        os.environ[BESIDE] = str(server.fileno())
        try:
            yield
        finally:
            del os.environ[BESIDE]


def copied(prepare: Callable[[], None]) -> ForkServer:
    """This process's child and copy, that lives as long as it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent, null = os.getpid(), os.open(os.devnull, os.O_RDONLY)
    if (pid := os.fork()) == 0:
        try:
            _take_files({0: null, 1: 2, 2: 2, 3: theirs.fileno()})
            prepare()
            _become_server(socket.socket(fileno=3), parent)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    theirs.close()
    os.close(null)
    return ForkServer(ours, pid)


def _spawn(
    server: ForkServer,
    module: str,
    arguments: Sequence[str],
    *,
    stdin: int,
    stdout: int,
    extra: dict[str, str] | None = None,
) -> int:
    """As `processes.spawn`: it gets what an exec would leave it."""
    files = {0: stdin, 1: stdout, 2: 2} | {fd: fd for fd in _inheritable()}
    return server.start(module, arguments, os.environ | (extra or {}), files)


def _inheritable() -> list[int]:
    found: list[int] = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:  # of the listing itself
            continue
    return found


def _become_server(connection: socket.socket, parent: int) -> None:
    import setproctitle

    die_with_parent()
    launch.YIELDING = 0  # see `nobody_gives_way`
    if os.getppid() == parent:
        setproctitle.setproctitle("fork server of tests")
        serve(connection)


def main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    zygote.load(sys.argv[2:], str(demo_model()))
    settle()
    _become_server(connection, os.getppid())


if __name__ == "__main__":
    main()
