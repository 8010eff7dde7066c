"""From a prompt that a face has read to a request that is under way."""

from typing import Any

import msgspec

from ...protocol.requests.pooling import PoolingParams
from ...protocol.requests.request import MediaItem, Prompt
from ...protocol.requests.sampling import SamplingParams
from ..client.client import Client
from ..client.stream import Stream
from .media import Pending, place


class Submission(msgspec.Struct, frozen=True):
    """One prompt and its media, read and checked; bytes are not in shared memory yet, or were put there by who read them."""

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
    client: Client,
    given: Submission,
    wanted: SamplingParams | PoolingParams,
    *,
    wait: bool,
    tenant: str = "",
    priority: int = 0,
    deadline: float | None = None,
    streamed: bool = True,
) -> Stream:
    """Put the media into shared memory and submit the request. With `wait` (a batch) it waits until the engine has room for
    both; otherwise (a service) it is refused. `streamed`: its tokens are read as they come. Raises RequestError, EngineError.
    """
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
    )
