"""What the policies of this actor ask of the process around them, and what it makes of their
exceptions."""

import logging
import time
from asyncio import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass

from ...protocol.errors import Failure, RequestError
from ...protocol.memory.shortage import shortage
from ...protocol.requests.request import Request
from ...protocol.wire import Message
from ..prompting.prompt import Rendered
from .effort import Effort
from .pending_request import PendingRequest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shell:
    """What decoding asks of the process around it."""

    send: Callable[[str, Message], bool]
    kill: Callable[[str], None]
    """By role; the worker's end comes back as `worker_gone`."""
    excuse: Callable[[str, int], None]
    """By role: its death has an explanation."""
    later: Callable[[float, Callable[[], None]], TimerHandle]
    complete: Callable[[PendingRequest], None]
    """All items of a request are there and pinned."""
    fail: Callable[[PendingRequest, Failure], None]
    """Ends the request, which calls `release`."""
    rendered: Callable[[PendingRequest, Rendered], None]
    """A request's conversation has become tokens."""
    give_back: Callable[[Request], None]
    """To the fetcher: its bytes are read no more."""
    read: Callable[[PendingRequest], None]
    """It is known what a request's documents hold."""
    guarded: Callable[[PendingRequest, Callable[[], None]], None]
    """Do this for a request, which an exception ends."""
    effort: Callable[[str], Effort]
    """Of a worker, by role, so far."""
    clock: Callable[[], float] = time.monotonic
    """Seconds."""


def failure_of(error: Exception) -> Failure:
    """What a caller is told of an exception in the preparing of its request."""
    if isinstance(error, RequestError):
        return error.failure
    if (short := shortage(error)) is not None:
        return short
    log.exception("a request could not be prepared", exc_info=error)
    return Failure("internal", "The request could not be prepared.")
