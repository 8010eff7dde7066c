"""What is done with the digests of a request's media, when these are there: a thread makes those of
large ones."""

import asyncio
from collections.abc import Callable
from typing import Any

from .identities import Identities
from .pending_request import PendingRequest
from .remembered import RememberedIds
from .shell import Shell, failure_of

HASH_INLINE = 1 << 20
"""Bytes that are hashed at once (0.3 ms); more goes to a thread."""
WithDigests = Callable[[PendingRequest, list[str | None]], None]


class Hashing:
    def __init__(
        self,
        identities: Identities,
        shell: Shell,
        start_soon: Callable[..., Any],
        ids: RememberedIds,
    ) -> None:
        """`start_soon`: a task of the actor's. `ids`: what is known of those that have no bytes."""
        self._ids = ids
        self._identities, self._shell, self._start_soon = identities, shell, start_soon

    def do(self, pending: PendingRequest, step: WithDigests) -> None:
        if sum(blob.nbytes for blob in pending.blobs) > HASH_INLINE:
            self._start_soon(self._in_thread, pending, step)
        else:
            self._go_on(pending, step, self._identities.digests(pending.request.media))

    async def _in_thread(self, pending: PendingRequest, step: WithDigests) -> None:
        media = pending.request.media
        try:
            digests = await asyncio.to_thread(self._identities.digests, media)
        except Exception as error:
            self._shell.fail(pending, failure_of(error))
            return
        if not pending.over:
            self._shell.guarded(pending, lambda: self._go_on(pending, step, digests))

    def _go_on(self, pending: PendingRequest, step: WithDigests, digests: list[str | None]) -> None:
        self._ids.find(pending, lambda: step(pending, digests))
