"""Start an engine, or find one that runs."""

import atexit
import contextlib
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

import msgspec

from ..actors.director.config import Announcement, Cast, DirectorConfig
from ..actors.director.machine import refuse_impossible, this_machine
from ..actors.director.run_dir import is_running, make_run_dir, remove_run
from ..protocol.chat_templates.source import chat_template_of, no_template
from ..protocol.checkpoint.folder import MODULES, CheckpointFolder, inspect
from ..protocol.config import logs
from ..protocol.config.division import share_of, workers_of
from ..protocol.config.engine import EngineConfig
from ..protocol.config.environment import KEYS
from ..protocol.config.open_files import check_file_limit, file_limit, raise_file_limit
from ..protocol.config.server import ServerConfig
from ..protocol.config.server_keys import with_keys
from ..protocol.config.server_tls import with_tls
from ..protocol.config.server_traces import with_otlp_headers
from ..protocol.errors import EngineError
from ..protocol.topology import HTTP
from .hub.locate import located
from .start_bar import start_bar

log = logging.getLogger(__name__)

HTTP_MODULE = "thespis.frontends.openai.main"
"""The HTTP frontend's: the one role that is not an actor, which the director starts like them."""

STOP_SECONDS = 20.0
LAST_LINES = 8
"""Of the log, in the error of an engine that ended without giving a reason."""


class EngineHandle:
    """One engine that this process started. Not for use by its forks."""

    def __init__(self, run_dir: Path, process: "subprocess.Popen[bytes]") -> None:
        self.run_dir = run_dir
        self.process = process
        self._owner = os.getpid()
        self._closing = threading.Lock()
        self._held = True
        atexit.register(self.stop)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def stop(self, timeout: float = STOP_SECONDS) -> bool:
        """Let go of the engine: it shuts down in order, unless other faces still use it. Returns
        whether it has ended.

        Close this process's clients first. After `timeout` seconds the engine is killed.
        Idempotent.
        """
        if os.getpid() != self._owner:
            return False
        atexit.unregister(self.stop)
        with self._closing:
            if not self._held:
                return not self.running
            self._held = False
            process = self.process
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError), process.stdin:
                # Closing is not enough: a fork of this process may hold the pipe open.
                process.stdin.write(b"\n")
            with process.stdout:
                try:
                    if any(
                        said.event == "staying" for said in _announcements(process.stdout, timeout)
                    ):
                        # Somebody has to wait for it: nobody holds this handle for as long as other
                        # faces use the engine.
                        threading.Thread(
                            target=process.wait, name="engine-end", daemon=True
                        ).start()
                        return False
                except TimeoutError:
                    process.kill()
            process.wait()
            return True

    def terminate(self, timeout: float = STOP_SECONDS) -> int:
        """Shut the engine down for all faces; returns the director's exit code."""
        if self.running:
            self.process.terminate()
        self.stop(timeout)
        return self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_engine(
    config: EngineConfig,
    server: ServerConfig | None = None,
    *,
    cast: Cast | None = None,
    log_path: Path | None = None,
    inherit_log: bool = False,
) -> EngineHandle:
    """Start an engine and wait until every process of it is ready. Blocks; call it from a thread in
    a running loop.

    Its log goes to `log_path`, by default `engine.log` in the run directory; with `inherit_log` to
    this process's stderr. `cast`: who plays the roles, None: as shipped. Raises EngineError whose
    text is for the person who starts it.
    """
    if server is not None:
        server = with_otlp_headers(with_tls(with_keys(server)))
    config = checked(config, server is not None)
    cast = cast or Cast()
    directions = DirectorConfig(
        engine=config,
        server=server,
        cast=msgspec.structs.replace(cast, modules={HTTP: HTTP_MODULE, **cast.modules}),
        face_pid=os.getpid(),
    )
    warning = check_file_limit(
        workers_of(config), server is not None, share_of(config).requests, file_limit()
    )
    if warning is not None:
        log.warning("%s", warning)
    return _run(directions, log_path, inherit_log)


def checked(config: EngineConfig, served: bool) -> EngineConfig:
    """The same with its model in a folder, fetched where it must be, and a chat template as text:
    a restarted process gets the same one. `served`: chats will be asked for. Raises EngineError
    where it is plain that no engine can start here."""
    config = located(config)
    checkpoint = inspect(config.model)
    template = chat_template_of(checkpoint, config.chat_template)
    if served and template is None and not _makes_vectors(config, checkpoint):
        raise no_template(checkpoint)
    refuse_impossible(config, this_machine())
    return msgspec.structs.replace(config, chat_template=template)


def _run(directions: DirectorConfig, log_path: Path | None, inherit_log: bool) -> EngineHandle:
    """In a run directory of its own, until it is ready."""
    run_dir = make_run_dir()
    log_file = log_path or run_dir / "engine.log"
    with contextlib.ExitStack() as undo:
        undo.callback(remove_run, run_dir)
        with contextlib.nullcontext() if inherit_log else log_file.open("a+b") as stream:
            handle = EngineHandle(run_dir, _popen(run_dir, directions, stream))
            undo.callback(handle.stop, timeout=2.0)
            with start_bar(None if inherit_log else log_file):
                _await_ready(handle, directions, stream)
        undo.pop_all()
    return handle


def _makes_vectors(config: EngineConfig, checkpoint: CheckpointFolder) -> bool:
    """As far as can be seen without its weights: then no chat template is missed."""
    return config.runner == "pooling" or (
        config.runner == "auto" and (Path(checkpoint.path) / MODULES).exists()
    )


def _popen(
    run_dir: Path, directions: DirectorConfig, log: IO[bytes] | None
) -> "subprocess.Popen[bytes]":
    """In a session of its own: Ctrl-C goes to the face, which ends the engine in order."""
    listen = directions.server.listen_fd if directions.server is not None else None
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "thespis.actors.director", "--run-dir", str(run_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        stderr=log,
        start_new_session=True,
        env=_environment(directions.server),
        pass_fds=() if listen is None else (listen,),
    )
    with contextlib.suppress(ProcessLookupError):  # it has ended already; why, it says itself
        # Its children, which it makes when it has its directions, inherit that.
        raise_file_limit(process.pid)
    return process


def _environment(server: ServerConfig | None) -> dict[str, str]:
    """Without keys: the server's own comes by stdin, and of a hub nothing more is asked."""
    kept = {name: value for name, value in os.environ.items() if name not in KEYS}
    told = {} if server is None else logs.variables(server.log_level, server.log_format)
    return kept | told | {"HF_HUB_OFFLINE": "1"}


def _await_ready(handle: EngineHandle, directions: DirectorConfig, log: IO[bytes] | None) -> None:
    process = handle.process
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended already; the reason follows below
        process.stdin.write(msgspec.json.encode(directions) + b"\n")
    first = next(_announcements(process.stdout), None)
    if first is None:
        raise EngineError(f"The engine ended before it was ready.{_last_lines(log)}")
    if first.event != "ready":
        raise EngineError(
            first.text + (_last_lines(log) if first.text.endswith("see the log.") else "")
        )


def _announcements(stdout: IO[bytes], timeout: float | None = None) -> Iterator[Announcement]:
    """Until the director ends. Raises TimeoutError after `timeout` seconds."""
    decoder = msgspec.json.Decoder(Announcement)
    deadline = None if timeout is None else time.monotonic() + timeout
    poller = select.poll()
    poller.register(stdout, select.POLLIN)
    rest = b""
    while poller.poll(None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000):
        data = os.read(stdout.fileno(), 4096)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from map(decoder.decode, lines)
    raise TimeoutError


def _last_lines(log: IO[bytes] | None) -> str:
    if log is None:
        return ""
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").splitlines()[-LAST_LINES:]
    return "\n".join([" The end of its log:", *lines]) if lines else ""


def find_engine(run_dir: str | Path) -> Path:
    """The run directory of a running engine. Raises EngineError that says why it is not one."""
    path = Path(run_dir).expanduser()
    if not path.is_dir():
        raise EngineError(f"No engine runs in {str(run_dir)!r}: there is no such directory.")
    if not is_running(path):
        raise EngineError(
            f"No engine runs in {str(run_dir)!r}: its director has ended, or it never was a run "
            f"directory."
        )
    if not (path / "director.sock").exists():
        raise EngineError(
            f"The engine in {str(run_dir)!r} is only just starting; try again when it is ready."
        )
    return path.resolve()
