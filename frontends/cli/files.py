"""Files that a person at a terminal names: read whole, up to a size."""

import os
import stat
from pathlib import Path

from ...protocol.errors import EngineError

MOST_BYTES = 256 << 20
"""As a server takes at most, of a request's body."""


def read(path: Path, most: int = MOST_BYTES) -> bytes:
    """Never a device or a pipe, which may not end. Raises EngineError."""
    try:
        # Without waiting for a pipe's other end.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(number, "rb") as file:
            found = os.fstat(number)
            if not stat.S_ISREG(found.st_mode):
                raise EngineError(f"Cannot read {path}: it is no file.")
            if found.st_size > most:
                raise EngineError(f"{path} is larger than {most >> 20} MiB.")
            return file.read(most)
    except (OSError, ValueError) as error:
        raise EngineError(f"Cannot read {path}: {reason(error)}.") from None


def named(text: str) -> Path:
    """`~` is a home folder. Raises EngineError where nobody has that."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise EngineError(f"Nobody here has the home folder of {text}.") from None


def reason(error: OSError | ValueError) -> str:
    return str(error.strerror) if isinstance(error, OSError) else "no file can be called so"
