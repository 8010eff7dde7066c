"""A request's deadline while it waits for something."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..protocol.errors import Failure, RequestError

LATE = Failure("deadline", "The request's deadline has passed.", code="deadline")


@asynccontextmanager
async def before(deadline: float | None) -> AsyncIterator[None]:
    """A time limit on the block: `deadline` in unix seconds, None for no limit. Raises RequestError when it has passed."""
    try:
        async with asyncio.timeout(None if deadline is None else max(0.0, deadline - time.time())):
            yield
    except TimeoutError:
        raise RequestError(LATE) from None
