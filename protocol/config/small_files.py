"""Files that an operator names for a start: read whole, and never more of them than they need."""

import logging
import os
import stat

from ..errors import EngineError

log = logging.getLogger(__name__)

MOST_BYTES = 1 << 20


def read_small(path: str, what: str, secret: bool = False) -> bytes:
    """`what`: as an error begins. Of a `secret` one the permissions are looked at. Raises
    EngineError."""
    try:
        file = os.open(os.path.expanduser(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no such name"
        raise EngineError(f"{what} {path!r} cannot be read: {why}.") from None
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise EngineError(f"{what} {path!r} is no file.")
        if secret:
            check_private(found.st_mode, path, what)
        with open(file, "rb", closefd=False) as stream:
            data = stream.read(MOST_BYTES + 1)
    finally:
        os.close(file)
    if len(data) > MOST_BYTES:
        raise EngineError(f"{what} {path!r} has more than {MOST_BYTES >> 20} MiB.")
    return data


def check_private(mode: int, path: str, what: str) -> None:
    """Raises EngineError where everybody may write it; who may read it is the operator's affair,
    and told: what is mounted into a container is readable for everybody there."""
    if mode & stat.S_IWOTH:
        raise EngineError(
            f"{what} {path!r} may be written by everybody on this machine: chmod 600 it."
        )
    if mode & stat.S_IROTH:
        log.warning("%s %r may be read by everybody on this machine: chmod 600 it", what, path)
