"""Uploaded files as media of a request: the kernel copies them from the disk into shared memory,
and what their bytes are is known, so that nothing passes the loop and nothing is hashed again."""

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple, TypeVar

import msgspec

from ....protocol.errors import RequestError, refuse
from ....protocol.memory.blobs import BlobRef, block_bytes
from ....protocol.memory.shortage import NO_SPACE, shortage
from ....protocol.requests.request import Encoded, MediaItem, Modality
from ...client.media_store import MediaStore
from ...inputs.media import MAX_ITEM_BYTES, Pending, filed_id, place
from ...inputs.submission import Submission
from .kinds import HEAD, modality_of
from .storage import Storage
from .store import Entry

P = TypeVar("P")

AT_ONCE = 8 << 20
"""Bytes that the kernel copies between two looks at whether anybody waits for them."""


class FiledBytes(NamedTuple):
    """A file whose bytes are in shared memory, if somebody adopts them."""

    blob: BlobRef
    digest: str
    seems: Modality | None
    """A medium, by its first bytes."""


class Uploads:
    """`media`: of the client that submits the requests. `expected`: holds a place for so many bytes
    of media until the request is submitted, or raises RequestError."""

    def __init__(
        self,
        storage: Storage,
        media: MediaStore,
        expected: Callable[[int], AbstractContextManager[None]],
    ) -> None:
        self._storage, self._media, self._expected = storage, media, expected

    async def fill(self, pieces: list[P], tenant: str, drafts: list[str]) -> list[P]:
        """Everything that a call asks for, with the bytes of the files that it names. `drafts` is
        told of each draft as it is made: discard them when the call is over. Raises RequestError
        that names the part."""
        with ExitStack() as room:  # a small body may name large files, and one of them many times
            return [
                await self._filled(piece, tenant, drafts, room)
                if isinstance(piece, Submission) and any(map(_id_of, piece.media))
                else piece
                for piece in pieces
            ]

    async def take(self, tenant: str, id: str, where: str, drafts: list[str]) -> FiledBytes:
        """The bytes of one file. Raises RequestError that names `where`."""
        with ExitStack() as room:
            return await self._take(tenant, id, where, drafts, room)

    async def _take(
        self, tenant: str, id: str, where: str, drafts: list[str], room: ExitStack
    ) -> FiledBytes:
        try:
            async with self._storage.opened(self._storage.files, tenant, id) as (entry, file):
                room.enter_context(self._expected(entry.size))
                return await self._copied(entry, file, drafts)
        except RequestError as error:
            failure = msgspec.structs.replace(error.failure, part=where)
            raise RequestError(failure) from None

    async def _filled(self, piece: Any, tenant: str, drafts: list[str], room: ExitStack) -> Any:
        media: list[Pending | MediaItem] = []
        for item in piece.media:
            if (id := _id_of(item)) is None:
                media.append(item)
                continue
            upload = await self._take(tenant, id, item.where, drafts, room)
            (placed,) = place((item,), self._media)  # all that is said of it; it has no bytes yet
            source, digest = Encoded(upload.blob), upload.digest
            if placed.modality == "document" and upload.seems is not None:
                # A part of type `file` does not say what it is: its first bytes do.
                placed = msgspec.structs.replace(placed, modality=upload.seems, document=None)
            media.append(msgspec.structs.replace(placed, source=source, digest=digest))
        return msgspec.structs.replace(piece, media=tuple(media))

    async def _copied(self, entry: Entry, file: int, drafts: list[str]) -> FiledBytes:
        if entry.size > MAX_ITEM_BYTES:
            text = f"The media is larger than {MAX_ITEM_BYTES >> 20} MiB."
            raise refuse("too_large", text, code="media_too_large")
        head = await self._storage.run(os.pread, file, HEAD, 0)
        for spare in (False, True):
            path, draft = self._media.draft(spare)
            drafts.append(path)
            try:
                await _to_the_end(_copy, file, draft, entry.size)
            except OSError as error:
                short = shortage(error)
                if short == NO_SPACE and not spare:
                    self._media.discard(drafts.pop())
                    continue
                if short is None:
                    raise
                raise RequestError(short) from None
            finally:
                os.close(draft)
            blob = BlobRef(path, 0, "uint8", (entry.size,))
            return FiledBytes(blob, entry.digest, modality_of(head))
        raise AssertionError("the second draft has what it needs, or raises")


def _id_of(item: Pending | MediaItem) -> str | None:
    """In a body that a reader has read, media have been placed."""
    return filed_id(item.content if isinstance(item, Pending) else item.source)


async def _to_the_end(work: Any, *args: Any) -> None:
    """In a thread that has ended when this has: its files are open as long as it runs."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


def _copy(file: int, draft: int, size: int) -> None:
    """Raises OSError where there is no room, or the file is shorter than it was."""
    os.posix_fallocate(draft, 0, block_bytes(size))
    at = 0
    while at < size:
        done = os.sendfile(draft, file, at, min(AT_ONCE, size - at))
        if not done:
            raise OSError("a stored file is cut off")
        at += done
