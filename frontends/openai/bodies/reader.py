"""Reads one body after the other in a process that may be killed in the middle of it: a parser
holds its interpreter's lock, so a thread would not do. A child of the HTTP server, with which it
dies. A body comes as a descriptor, its media go into a draft of the server's shared memory."""

import logging
import os
import resource
import socket
import struct
import sys

import msgspec

from ....actors.kernel.budget import BudgetError, memory_budget
from ....actors.kernel.launch import die_with_parent
from ....actors.kernel.logs import configure_logging
from ....protocol.errors import Failure, RequestError
from ....protocol.memory.blobs import Draft
from ....protocol.memory.mapping import map_file
from ....protocol.memory.shortage import shortage
from .handover import Head, Job, pack
from .reading import KINDS, check_size, read

log = logging.getLogger(__name__)
LENGTH = struct.Struct(">Q")
MAX_JOB = 1 << 16
MEMORY, MEMORY_PER_BYTE = 512 << 20, 4
"""Bytes that one body may take: for structure, whose counts are bounded, and for copied strings."""
CPU_SECONDS = 20
"""For one body; beyond it the kernel ends the process."""
INTERNAL = Failure("internal", "Internal error.", code="internal_error")
TOO_COMPLEX = Failure(
    "too_large", "To read this body takes more than any request needs.", code="body_too_complex"
)


def main(server: int, fd: int) -> None:
    import setproctitle

    die_with_parent()
    if os.getppid() != server:
        sys.exit(1)
    setproctitle.setproctitle("thespis http-reader")
    configure_logging("http-reader")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a caller's words must not be left on disk
    with socket.socket(fileno=fd) as link:
        while True:
            data, fds, _, _ = socket.recv_fds(link, MAX_JOB, 2)
            if not data:
                return
            try:
                _limit_time()
                for part in work(msgspec.msgpack.decode(data, type=Job), *fds):
                    link.sendall(part)
            finally:
                for one in fds:
                    os.close(one)


def work(job: Job, body: int, draft: int) -> list[bytes]:
    """The answer's length, its head, and the pieces."""
    try:
        with memory_budget(MEMORY + MEMORY_PER_BYTE * job.size):
            head, pieces = _read(job, body, draft)
    except RequestError as error:
        head, pieces = Head(error.failure), []
    except BudgetError:
        head, pieces = Head(TOO_COMPLEX), []
    except Exception as error:  # this body's own request ends, and nothing else
        if (short := shortage(error)) is None:
            log.exception("a body could not be read")
        head, pieces = Head(short or INTERNAL), []
    whole = msgspec.msgpack.encode(head)
    return [LENGTH.pack(len(whole)), whole, *pieces]


def _read(job: Job, body: int, draft: int) -> tuple[Head, list[bytes]]:
    kind = KINDS[job.kind]
    call = read(kind, map_file(body, job.size) if job.size else b"", job.terms)
    for piece in call.pieces:
        check_size(piece, job.terms)
    return pack(kind, call, Draft(job.draft, draft))


def _limit_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(
        resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + CPU_SECONDS, hard)
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
