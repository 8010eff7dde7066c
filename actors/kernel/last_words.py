"""What a process writes to its stderr while it loads is kept in a file of the run, where the
director finds what it died of.

Its log goes past that file. When it is ready, it has its stderr back, with what was kept.
"""

import os
import sys
from pathlib import Path
from typing import TextIO

_STDERR = 2
_MOST_BYTES = 1 << 16
"""Of what was kept, from its end."""
_LONGEST_LINE = 400
_kept: tuple[Path, TextIO] | None = None
"""Of this process, while it loads: the file, and the stderr that it had."""


def path_of(run_dir: Path, role: str, epoch: int) -> Path:
    return run_dir / f"{role}.{epoch}.err"


def keep(path: Path) -> TextIO:
    """Make the file the process's stderr, where it can be made; returns what stderr was."""
    global _kept
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError:
        return sys.stderr
    log = os.fdopen(os.dup(_STDERR), "w", buffering=1, errors="backslashreplace")
    os.dup2(file, _STDERR)
    os.close(file)
    _kept = path, log
    return log


def give_back() -> None:
    """The process is ready. Idempotent."""
    global _kept
    if _kept is None:
        return
    path, log = _kept
    _kept = None
    sys.stderr.flush()
    os.dup2(log.fileno(), _STDERR)
    if kept := take(path):
        os.write(_STDERR, kept)


def take(path: Path) -> bytes:
    """What was kept, which is not kept any longer; nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _MOST_BYTES))
            kept = file.read()
        path.unlink(missing_ok=True)
    except OSError:
        return b""
    return kept


def last_line(kept: bytes) -> str:
    """The last that says something, fit for a sentence."""
    for line in reversed(kept.decode("utf-8", "replace").splitlines()):
        if text := "".join(character for character in line if character.isprintable()).strip():
            return text[:_LONGEST_LINE]
    return ""
