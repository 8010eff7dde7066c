"""A request's deadline while it waits for something."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ...protocol.errors import Failure, RequestError

LATE = Failure("deadline", "The request's deadline has passed.", code="deadline")


def steady(deadline: float | None) -> float | None:
    """A caller's deadline, in unix seconds, by time.monotonic, as the clocks stand now: whoever
    sets the wall clock afterwards moves it no more."""
    return None if deadline is None else time.monotonic() + deadline - time.time()


@asynccontextmanager
async def before(deadline: float | None) -> AsyncIterator[None]:
    """Limits the block to `deadline`, by time.monotonic; None: no limit. Raises RequestError."""
    try:
        async with asyncio.timeout(
            None if deadline is None else max(0.0, deadline - time.monotonic())
        ):
            yield
    except TimeoutError:
        raise RequestError(LATE) from None
