"""Request bodies: read within limits on size, structure, memory and patience."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from blake3 import blake3

from ....protocol.errors import Failure, RequestError, invalid, refuse
from ....protocol.memory.shortage import shortage
from ..blame import DIGEST_BYTES
from .reading import is_small
from .scan import STEP, Scan, Structure

BODY_WANTED: web.RequestKey[bool] = web.RequestKey("body_wanted", bool)
"""Set on a request whose body is being read, or has been."""
PATIENCE_SECONDS = 20.0
"""For the next piece of a body: one that never comes must not hold its place for ever."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
FULL = Failure(
    "overloaded", "The server reads as much as it can hold; try again later.", code="overloaded"
)
AT_ONCE = 1 << 13
"""Bytes that may come between two turns of the loop without being felt."""
LONG_TO_FREE = 8 << 20
"""Bytes whose pages the kernel takes back in more than a millisecond."""


async def expect(request: web.Request) -> None:
    """Instead of aiohttp's `100 Continue`, which `Bodies` sends after all that can refuse."""


async def expect_nothing(request: web.Request) -> None:
    """The same where no body is taken: nobody is told to send one."""
    if request.headers["Expect"].lower() != "100-continue":
        raise web.HTTPExpectationFailed


class Bodies:
    """Receives bodies within limits on each one's bytes and structure, and on the bytes of all."""

    def __init__(
        self,
        max_bytes: int,
        max_total: int,
        structure: Structure,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._max, self._max_total = max_bytes, max_total
        self._structure, self._patience = structure, patience
        self._held = 0
        self._taken = asyncio.Lock()
        """This turn of the loop is one body's."""

    @asynccontextmanager
    async def receive(self, request: web.Request) -> AsyncIterator["Received"]:
        """The body; its bytes count as held until the block ends. Raises RequestError: 413 where it
        is too large, if possible by its head, or has too much structure; 400 for no UTF-8; 429."""
        announced = request.content_length or 0
        if announced > self._max:
            raise self._too_large()
        if self._held and self._held + announced > self._max_total:
            raise RequestError(FULL)
        body = Received(Scan(self._structure), announced)
        self._held += announced
        try:
            await self._fill(body, request)
            yield body
        finally:
            self._held -= body.held
            body.close()

    @asynccontextmanager
    async def again(self, data: bytes) -> AsyncIterator["Received"]:
        """What is stored of earlier bodies, within the same limits. Raises RequestError."""
        if self._held and self._held + len(data) > self._max_total:
            raise RequestError(FULL)
        body = Received(Scan(self._structure), len(data))
        self._held += len(data)
        try:
            await self._take_in(body, data)
            body.scan.end()
            yield body
        finally:
            self._held -= body.held
            body.close()

    async def pieces(self, request: web.Request) -> AsyncIterator[bytes]:
        """The body as it comes, of which nothing is held. Raises RequestError."""
        request[BODY_WANTED] = True
        try:
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(CONTINUE)
                request.writer.output_size = 0  # of the answer, nothing has been sent
            while chunk := await self._more(request):
                yield chunk
        except web.HTTPException:
            raise
        except (OSError, ValueError) as error:  # a broken transfer or content coding
            raise _unreadable(error) from None

    @asynccontextmanager
    async def counted(self, request: web.Request) -> AsyncIterator[AsyncIterator[bytes]]:
        """The body as it comes, whose bytes the caller keeps: they count as held until the block
        ends. Raises RequestError as `receive` does."""
        held = request.content_length or 0
        if held > self._max:
            raise self._too_large()
        if self._held and self._held + held > self._max_total:
            raise RequestError(FULL)
        self._held += held

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal held
            size = 0
            async for chunk in self.pieces(request):
                size += len(chunk)
                if size > self._max:
                    raise self._too_large()
                if (more := size - held) > 0:
                    self._held += more
                    held += more
                    if self._held > self._max_total and self._held > held:
                        raise RequestError(FULL)
                yield chunk

        try:
            yield pieces()
        finally:
            self._held -= held

    async def _fill(self, body: "Received", request: web.Request) -> None:
        async for chunk in self.pieces(request):
            try:
                await self._take_in(body, chunk)
            except OSError as error:
                raise _unreadable(error) from None
        body.scan.end()

    @asynccontextmanager
    async def turn(self, size: int) -> AsyncIterator[None]:
        """To do what takes as long as so many bytes of a body: once in a turn of the loop, however
        many callers send how much."""
        if size <= AT_ONCE:
            yield
            return
        async with self._taken:
            yield
            await asyncio.sleep(0)

    async def _take_in(self, body: "Received", chunk: bytes) -> None:
        for start in range(0, len(chunk), STEP):
            piece = chunk[start : start + STEP]
            async with self.turn(len(piece)):
                self._add(body, piece)

    def _add(self, body: "Received", piece: bytes) -> None:
        body.scan.feed(piece)
        if body.scan.size > self._max:
            raise self._too_large()
        # It announced less, or nothing: count what it sends as it comes.
        if (more := body.scan.size - body.held) > 0:
            self._held += more
            body.held += more
            if self._held > self._max_total and self._held > body.held:
                raise RequestError(FULL)
        body.add(piece)

    async def _more(self, request: web.Request) -> bytes:
        """The next piece of the body; nothing at its end."""
        try:
            async with asyncio.timeout(self._patience):
                return await request.content.readany()
        except TimeoutError:
            text = f"Nothing more of the body came for {self._patience:g} s."
            raise invalid(text, code="body_timeout") from None

    def _too_large(self) -> RequestError:
        text = (
            f"The body is larger than {self._max / (1 << 20):.4g} MiB; who runs the server may "
            f"start it with a larger --max-body-mb."
        )
        return refuse("too_large", text, code="body_too_large")


class Received:
    """A body: in memory while it is small, then in a file in memory that a reader can be given."""

    def __init__(self, scan: Scan, held: int) -> None:
        self.scan = scan
        self.held = held
        """Bytes that count as held for it."""
        self._digest = blake3()
        self._chunks: list[bytes] = []
        self._file: int | None = None

    @property
    def name(self) -> str:
        """Its digest, of as many bytes as a record of blame has for it."""
        return self._digest.hexdigest(length=DIGEST_BYTES)

    @property
    def raw(self) -> bytes:
        """Of a small body."""
        return b"".join(self._chunks)

    @property
    def file(self) -> int:
        """The descriptor of a file with the whole body."""
        if self._file is None:
            self._file = os.memfd_create("body", os.MFD_CLOEXEC)
            chunks, self._chunks = self._chunks, []
            for chunk in chunks:
                _write(self._file, chunk)
        return self._file

    def add(self, chunk: bytes) -> None:
        """Raises OSError where there is no memory for it."""
        self._digest.update(chunk)
        if self._file is None and is_small(self.scan):
            self._chunks.append(chunk)
        else:
            _write(self.file, chunk)

    def close(self) -> None:
        self._chunks.clear()
        if self._file is None:
            return
        file, self._file = self._file, None
        if self.scan.size < LONG_TO_FREE:
            os.close(file)
        else:
            asyncio.get_running_loop().run_in_executor(None, os.close, file)


def _unreadable(error: OSError | ValueError) -> RequestError:
    if isinstance(error, RequestError):
        return error
    if (short := shortage(error)) is not None:
        return RequestError(short)
    return invalid("The body could not be read.", code="invalid_body")


def _write(file: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(file, view) :]
