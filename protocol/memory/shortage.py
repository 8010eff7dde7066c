"""What the machine has run out of, read from whatever exception told of it.

A shortage belongs to the request that met it, and passes: 503 with a code of its own. What a
request may use by the engine's own limits is another matter (413, 429).
"""

import errno
from collections.abc import Iterator

from ..errors import Failure

NO_FILES = Failure(
    "unavailable",
    "The machine has no more open files for this request; try again later.",
    code="too_many_open_files",
)
NO_SPACE = Failure(
    "unavailable",
    "The machine has no shared memory left for this request; try again later.",
    code="no_shared_memory",
)
NO_MEMORY = Failure(
    "unavailable",
    "The machine has no memory left for this request; try again later.",
    code="out_of_memory",
)

_FILES = frozenset({errno.EMFILE, errno.ENFILE})
_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_TORCH = "can't allocate memory"
"""In the RuntimeError that is torch's MemoryError on a CPU."""


class SpaceError(MemoryError):
    """Shared memory is used up: the writer's own limit, or the machine's."""


def shortage(error: BaseException) -> Failure | None:
    """What is short, if that is what `error`, or what led to it, says."""
    chain = list(_chain(error))
    numbers = {link.errno for link in chain if isinstance(link, OSError)}
    if numbers & _FILES:
        return NO_FILES
    if numbers & _SPACE or any(isinstance(link, SpaceError) for link in chain):
        return NO_SPACE
    return NO_MEMORY if errno.ENOMEM in numbers or any(map(is_memory, chain)) else None


def is_memory(error: BaseException) -> bool:
    """Python's, torch's on a CPU, torch's on a GPU."""
    return (
        isinstance(error, MemoryError)
        or _TORCH in str(error)
        or type(error).__name__ == "OutOfMemoryError"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
