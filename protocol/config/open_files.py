"""How many files the processes of an engine may have open: sockets, pipes and callers' connections.
Shared memory needs none.

The most that one process has open while nobody calls, measured on an engine with one decode worker:
46 (the director), 48 (the HTTP server). Every further decode worker costs each of those it speaks
to four.
"""

import resource

from ..errors import EngineError

MOST = 1 << 16
"""Beyond this no limit is raised."""
BASE = 80
"""What any process may have open, whatever it is asked to do, with one decode worker."""
WORKER = 4
"""More for each further one."""
SPARE = 32
"""What the HTTP server keeps for itself, beside connections. Half of them are lent to callers who
are told that there is no room; while these are taken too, the next wait in the kernel."""
CALLERS = 16
"""A server that cannot have as many connections at once is of no use to anybody."""


def file_limit() -> int:
    """What the processes of an engine can get: the hard limit, to which theirs is raised."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)


def raise_file_limit(pid: int) -> None:
    """Of a process and those that it will start: shells give a thousand, or fewer."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < file_limit():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (file_limit(), hard))


def check_file_limit(workers: int, server: bool, requests: int, limit: int) -> str | None:
    """Whether an engine can live within `limit`. Raises EngineError if not; a warning, if it can
    but not serve `requests` callers at once."""
    own = BASE + WORKER * (workers - 1)
    least = own + (SPARE + CALLERS if server else 0)
    if limit < least:
        raise EngineError(
            f"The limit on open files is {limit}, and this engine needs at least {least}: raise "
            f"it, for example with `ulimit -n {max(4096, least)}`."
        )
    if server and (callers := limit - own - SPARE) < requests:
        return (
            f"The limit on open files is {limit}: about {callers} callers can be connected at "
            f"once, fewer than the {requests} requests that this engine takes; raise it, for "
            f"example with `ulimit -n {max(4096, own + SPARE + 4 * requests)}`."
        )
    return None
