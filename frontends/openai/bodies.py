"""Request bodies: read within limits on size, structure, memory and patience."""

import asyncio

from aiohttp import web

from ...protocol.errors import RequestError, refuse
from .scan import Scan, Structure

BODY_WANTED: web.RequestKey[bool] = web.RequestKey("body_wanted", bool)
"""Set on a request whose body is being read, or has been."""
PATIENCE_SECONDS = 20.0
"""For the next piece of a body: one that never comes must not hold its place for ever."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def expect(request: web.Request) -> None:
    """Instead of aiohttp's `100 Continue`: `Bodies.read` sends it, after everything that can refuse the request."""


class Bodies:
    """Reads request bodies within limits on each body's bytes and structure, and on the bytes of all that are held together."""

    def __init__(self, max_bytes: int, max_total: int, structure: Structure, patience: float = PATIENCE_SECONDS) -> None:
        self._max, self._max_total, self._structure, self._patience = max_bytes, max_total, structure, patience
        self._held = 0

    async def read(self, request: web.Request) -> bytes:
        """Raises RequestError: 413 for a body that is too large, if possible by its Content-Length alone, or has more structure
        than a request needs; 400 if it is not UTF-8; 429 if other bodies take up all the space."""
        announced = request.content_length or 0
        if announced > self._max:
            raise self._too_large()
        if self._held and self._held + announced > self._max_total:
            raise self._full()
        held = announced
        self._held += held
        request[BODY_WANTED] = True
        try:
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(CONTINUE)
                request.writer.output_size = 0  # of the answer, nothing has been sent
            chunks: list[bytes] = []
            scan = Scan(self._structure)
            while chunk := await self._more(request):
                scan.feed(chunk)
                size = scan.size
                if size > self._max:
                    raise self._too_large()
                if size > held:  # it announced less, or nothing: count what it sends as it comes
                    self._held += size - held
                    held = size
                    if self._held > self._max_total and self._held > held:
                        raise self._full()
                chunks.append(chunk)
            scan.end()
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except web.HTTPException:
            raise
        except (OSError, ValueError) as error:  # a broken transfer or content coding
            if isinstance(error, RequestError):
                raise
            raise refuse("invalid_request", "The body could not be read.", code="invalid_body") from None
        finally:
            self._held -= held

    async def _more(self, request: web.Request) -> bytes:
        """The next piece of the body; nothing at its end."""
        try:
            async with asyncio.timeout(self._patience):
                return await request.content.readany()
        except TimeoutError:
            text = f"Nothing more of the body came for {self._patience:g} s."
            raise refuse("invalid_request", text, code="body_timeout") from None

    def _full(self) -> RequestError:
        return refuse("overloaded", "The server reads as much as it can hold; try again later.", code="overloaded")

    def _too_large(self) -> RequestError:
        return refuse("too_large", f"The body is larger than {self._max >> 20} MiB.", code="body_too_large")
