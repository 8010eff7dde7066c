"""What a door holds of its callers: each body within a limit, and all of them within another."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from ...protocol.errors import Failure, RequestError, invalid, refuse

PATIENCE_SECONDS = 20.0
"""For the next piece of a body, as at a server of one engine."""
AT_ONCE = 4
"""Bodies of the largest size that are held."""
FULL = Failure(
    "overloaded", "The service holds as much as it can; try again later.", code="overloaded"
)


class Sending(Protocol):
    """A request, as Starlette has it."""

    def stream(self) -> AsyncIterator[bytes]: ...


class HeldBody:
    """Its bytes count as held as long as anybody has it: a lost replica's successor needs them."""

    def __init__(self, bodies: "HeldBodies", announced: int) -> None:
        self._bodies, self._counted = bodies, 0
        self.data = b""
        self.count(announced)

    def count(self, size: int) -> None:
        """It has so many bytes. Raises RequestError where that is too much."""
        if size > self._bodies.most:
            text = (
                f"The body is larger than {self._bodies.most / (1 << 20):.4g} MiB; who runs the "
                f"service may give it a larger max_body_mb."
            )
            raise refuse("too_large", text, code="body_too_large")
        more = max(0, size - self._counted)
        if self._bodies.held + more > AT_ONCE * self._bodies.most:
            raise RequestError(FULL)
        self._bodies.held += more
        self._counted += more

    def __del__(self) -> None:
        self._bodies.held -= self._counted


class HeldBodies:
    """Of one door. Belongs to its loop."""

    def __init__(self, most: int, patience: float = PATIENCE_SECONDS) -> None:
        """`most`: bytes of one."""
        self.most, self._patience = most, patience
        self.held = 0
        """Bytes."""

    async def receive(self, request: Sending, announced: int) -> HeldBody:
        """Raises RequestError: 413 for one that is too large, if possible by its head; 429; 400 for
        one that does not come."""
        body, data = HeldBody(self, announced), bytearray()
        stream = aiter(request.stream())
        while (chunk := await self._more(stream)) is not None:
            body.count(len(data) + len(chunk))
            data += chunk
        body.data = bytes(data)
        return body

    async def _more(self, stream: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(self._patience):
                return await anext(stream, None)
        except TimeoutError:
            text = f"Nothing more of the body came for {self._patience:g} s."
            raise invalid(text, code="body_timeout") from None
