"""From a prompt that a face has read to a request that is under way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from ...protocol.edges.client_to_scheduler import ChoiceSoFar
from ...protocol.requests.pooling import PoolingParams
from ...protocol.requests.preview import Preview
from ...protocol.requests.request import MediaItem, Prompt
from ...protocol.requests.sampling import SamplingParams
from .media import Pending, place

if TYPE_CHECKING:  # a reader of bodies, which starts beside streams, submits nothing
    from ..client.client import Client
    from ..client.stream import Stream

R = TypeVar("R")


class Submission(msgspec.Struct, frozen=True):
    """One prompt and its media, read and checked; bytes may be in shared memory already."""

    prompt: Prompt
    media: tuple[Pending | MediaItem, ...] = ()
    mm_processor_kwargs: dict[str, Any] = {}
    media_io_kwargs: dict[str, dict[str, Any]] = {}
    text: str | None = None
    """The prompt as the caller wrote it."""

    @property
    def nbytes(self) -> int:
        """What its media will take in shared memory."""
        return sum(item.nbytes for item in self.media if isinstance(item, Pending))


async def submit(
    client: "Client",
    given: Submission,
    wanted: SamplingParams | PoolingParams | Preview,
    *,
    wait: bool,
    tenant: str = "",
    priority: int = 0,
    deadline: float | None = None,
    streamed: bool = True,
    era: str | None = None,
    so_far: Sequence[ChoiceSoFar] = (),
) -> "Stream":
    """Put the media into shared memory and submit. With `wait` it waits for room, otherwise it is
    refused. `streamed`: its tokens are read as they come. `era`: another one than the present finds
    nothing in the caches' memory. `so_far`: as in `Client.submit`. Raises RequestError,
    EngineError."""
    if wait:
        await client.media.room(given.nbytes, deadline)
    return await client.submit(
        given.prompt,
        place(given.media, client.media),
        wanted,
        tenant=tenant,
        priority=priority,
        deadline=deadline,
        mm_processor_kwargs=given.mm_processor_kwargs,
        media_io_kwargs=given.media_io_kwargs,
        wait=wait,
        streamed=streamed,
        era=era,
        so_far=so_far,
    )


class RequestGroup:
    """The requests of one call, whose end waits for all; the first error ends the others."""

    def __init__(self) -> None:
        self._tasks, self._unread = asyncio.TaskGroup(), set["Stream"]()

    def read(self, stream: "Stream", read: Callable[[], Awaitable[R]]) -> asyncio.Task[R]:
        """Have `read` read `stream` to its end."""

        async def reading() -> R:
            result = await read()
            self._unread.remove(stream)
            return result

        self._unread.add(stream)
        return self._tasks.create_task(reading())

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        try:
            await self._tasks.__aexit__(kind, error, tb)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            # Here and not in the tasks: one that never ran its first line would cancel nothing.
            for stream in self._unread:
                await stream.cancel()
