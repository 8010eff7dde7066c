"""An engine with its HTTP server, started by a command in this terminal and ended with it."""

import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import msgspec

from ...protocol.config.engine import EngineConfig
from ...protocol.config.server import ServerConfig
from ...protocol.errors import EngineError
from ..engine import EngineHandle, start_engine

BACKLOG = 1024
_NO_HOST = (errno.EADDRNOTAVAIL, errno.EINVAL, errno.EAFNOSUPPORT)
"""Errors of an address that is not this machine's."""


class Serving:
    """A started server: its URL and the engine behind it."""

    def __init__(self, handle: EngineHandle, url: str) -> None:
        self._handle = handle
        self.url = url
        self.run_dir = handle.run_dir
        self.director = handle.process.pid

    def end(self, number: int = signal.SIGTERM) -> None:
        """Hand a signal on to the engine, which ends in order; a second one ends the waiting."""
        if self._handle.running:
            self._handle.process.send_signal(number)

    def wait(self) -> int:
        """Until the engine has ended, by itself or by `end`; the director's exit code."""
        code = self._handle.process.wait()
        self._handle.stop()
        return code


def bind(host: str, port: int) -> socket.socket:
    """Claim the port before anything is started. Raises EngineError with what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError, ValueError) as error:
        number, reason = None, "no such address"
        if isinstance(error, OSError) and error.errno is not None:
            number, reason = error.errno, str(error.strerror).partition(" (while")[0]
        other_host = number is None or number < 0 or number in _NO_HOST  # below 0: the resolver's
        advice = "another with --port, or any with --port 0"
        if other_host:
            advice = "with --host an address of this machine"
        raise EngineError(f"Cannot listen on {host}:{port} ({reason}); choose {advice}.") from None


@contextmanager
def serving(
    engine: EngineConfig, server: ServerConfig, *, inherit_log: bool = False
) -> Iterator[Serving]:
    """A server that is ready, until the block is left or a signal comes. Raises EngineError where
    it cannot start, KeyboardInterrupt for a signal before it is ready."""
    listener = bind(server.host, server.port)
    with listener, _handling(_interrupt):
        port = listener.getsockname()[1]
        settings = msgspec.structs.replace(server, port=port, listen_fd=listener.fileno())
        handle = start_engine(engine, settings, inherit_log=inherit_log)
        listener.close()  # the engine's own from here on: what it closes is closed
        running = Serving(handle, settings.url)
        try:
            yield running
        finally:
            with _handling(signal.SIG_IGN):  # a further Ctrl-C must not leave a half-ended engine
                running.end()
                running.wait()


def serve_until_stopped(running: Serving, announcement: str) -> int:
    """Say so, and hand signals on until the engine has ended; its exit code. Who reads the
    announcement may send a signal at once: by then it is the engine's."""

    def hand_on(number: int, frame: FrameType | None) -> None:
        running.end(number)

    with _handling(hand_on):
        print(announcement, flush=True)
        return running.wait()


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, handler)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
