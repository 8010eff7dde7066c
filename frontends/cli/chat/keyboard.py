"""The keyboard of a chat: lines with editing and a history, which is forgotten with the process."""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

PASTE_SECONDS = 0.02
"""The lines of a paste come sooner after one another than anybody types."""


class Keyboard:
    """`read` blocks; None at the end of the input. Raises KeyboardInterrupt for Ctrl-C."""

    def __init__(self) -> None:
        self._marks_pastes = self._edits = False
        with contextlib.suppress(ImportError):
            import readline  # its import gives input() editing and history

            self._edits = True
            # GNU's takes a paste as one line, ends of lines and all, where the terminal marks it.
            if "GNU" in (readline.__doc__ or "") and os.environ.get("TERM", "dumb") != "dumb":
                self._marks_pastes = True
                readline.set_completer_delims(" \t\n'\"")
                readline.parse_and_bind("tab: complete")  # the names of files

    def read(self, prompt: str) -> str | None:
        with at_interrupt(signal.default_int_handler):
            try:
                lines = [input(prompt)]
            except EOFError:
                print()
                return None
            with contextlib.suppress(EOFError):
                while not self._marks_pastes and self._more_waits():
                    lines.append(input())
        return "\n".join(lines)

    def _more_waits(self) -> bool:
        with _unlined() if self._edits else contextlib.nullcontext():
            return bool(select.select([sys.stdin], [], [], PASTE_SECONDS)[0])


@contextlib.contextmanager
def _unlined() -> Iterator[None]:
    """What came key by key, to an editor of lines, a terminal hides as long as it makes lines
    itself."""
    import termios

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    changed = [*before]
    changed[3] &= ~(termios.ICANON | termios.ECHO)
    try:
        termios.tcsetattr(number, termios.TCSANOW, changed)
        yield
    finally:
        termios.tcsetattr(number, termios.TCSANOW, before)


@contextlib.contextmanager
def at_interrupt(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """What Ctrl-C does meanwhile."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def nothing(number: int, frame: FrameType | None) -> None:
    """Ctrl-C between answer and prompt: too late for the one, and no word to the other."""
