"""A worker's memory limit: what it held when an item began, and the item's budget on top."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ....protocol.shortage import is_memory


class BudgetError(MemoryError):
    """The item wants more than its own budget; with less, the machine's limits would have been what failed."""


@contextmanager
def memory_budget(extra: int) -> Iterator[None]:
    """Within the block, allocations beyond `extra` bytes more than now raise BudgetError. Where the process's own limit leaves
    less than that, what fails for it stays a MemoryError (or torch's)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    own = _address_space() + extra
    limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    limit = min([own, *limits])
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    except Exception as error:
        if is_memory(error) and limit == own:
            raise BudgetError from error
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
