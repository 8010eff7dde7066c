"""The media bytes of one client's requests: shared memory, within its share."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from ...protocol.errors import RequestError, refuse
from ...protocol.memory.blobs import Arena, BlobRef, Bytes
from ...protocol.memory.shortage import NO_SPACE, SpaceError, shortage
from .admission import Admission
from .deadline import before

ARENA_BYTES = 1 << 40
"""More than any machine has: the client's share, which can change, is the limit."""


class MediaStore:
    """`check` raises if nothing will be accepted any more; who waits calls it after each `wake`."""

    def __init__(
        self, run_dir: Path, name: str, admission: Admission, check: Callable[[], None]
    ) -> None:
        self._arena = Arena(run_dir, name, ARENA_BYTES)
        self._admission = admission
        self._check = check
        self._owners: dict[BlobRef, int] = {}
        """Of what several requests read: how many have not given it back."""
        self._changed = asyncio.Event()

    @property
    def used(self) -> int:
        """Bytes."""
        return self._arena.used

    def put_bytes(
        self, data: Bytes, dtype: str = "uint8", shape: tuple[int, ...] | None = None
    ) -> BlobRef:
        """Copy `data` into shared memory. A request that is submitted with it owns it; otherwise
        give it back: `drop_bytes`.

        Raises RequestError: "overloaded" if the client's share is used up, "unavailable" if the
        machine has no more memory.
        """
        self._refuse_beyond(len(data))
        try:
            return self._arena.put(data, dtype, shape)
        except SpaceError as error:
            raise RequestError(shortage(error) or NO_SPACE) from None

    def draft(self, spare: bool = False) -> tuple[str, int]:
        """See `Arena.draft`. Raises RequestError."""
        try:
            return self._arena.draft(spare)
        except OSError as error:
            raise RequestError(shortage(error) or NO_SPACE) from None

    def adopt(self, blobs: Sequence[BlobRef]) -> None:
        """What another process has written into a draft is put, without a copy. Raises as
        `put_bytes`. Of what is shared there is one owner more."""
        if all(blob in self._owners for blob in blobs):
            for blob in blobs:
                self._owners[blob] += 1
            return
        try:
            self._refuse_beyond(self._arena.adopts(blobs))
            self._arena.adopt(blobs)
        except (SpaceError, OSError) as error:
            raise RequestError(shortage(error) or NO_SPACE) from None

    def share(self, blob: BlobRef) -> None:
        """What has been adopted is not one request's: the caller owns it, and so does each request
        that is submitted with it. It is free when all have dropped it."""
        self._owners[blob] = 1

    def discard(self, path: str) -> None:
        """See `Arena.discard`."""
        self._arena.discard(path)
        self.wake()

    def drop_bytes(self, *blobs: BlobRef) -> None:
        """Free blobs that nothing reads any more."""
        for blob in blobs:
            if (owners := self._owners.pop(blob, 1)) > 1:
                self._owners[blob] = owners - 1
            else:
                self._arena.free(blob)
        self.wake()

    async def room(self, nbytes: int, deadline: float | None = None) -> None:
        """Wait until `nbytes` can be put, as batches do. Raises RequestError at the `deadline`."""
        async with before(deadline):
            while nbytes and not self._has_room(nbytes):
                self._check()
                self._changed.clear()
                await self._changed.wait()

    def wake(self) -> None:
        """For the callers that wait: there is room, or there will never be any."""
        self._changed.set()

    def close(self) -> None:
        self._arena.close()

    def _refuse_beyond(self, nbytes: int) -> None:
        if not self._has_room(nbytes):
            text = "The engine holds as much media as it takes at once; try again later."
            raise refuse("overloaded", text, code="overloaded")

    def _has_room(self, nbytes: int) -> bool:
        """What is larger than the whole share is accepted alone, rather than never."""
        return (
            not self._arena.used or self._arena.used + nbytes <= self._admission.share.media_bytes
        )
