"""The server's readers: made when needed, replaced when ended, one body at a time each."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import msgspec

from ....actors.kernel.launch import give_way
from ....actors.quarantine.records import POISON
from ....protocol.errors import RequestError
from ....protocol.memory.shortage import NO_MEMORY, NO_SPACE, shortage
from ...client.media_store import MediaStore
from .handover import Head, Job, unpack_body, unpack_piece
from .reader import LENGTH, TOO_COMPLEX
from .reading import B, Call, Kind, P, Terms

log = logging.getLogger(__name__)
READERS = 2
"""Bodies that are read at once; each may take five times its size."""
READ_SECONDS = 60.0
"""Wall clock for one body: the reader's own limit is in CPU time, this is for one that hangs."""
TRIES = 2
"""Readers that one body may end by itself."""
PIECE = 1 << 18
"""Bytes of an answer that are taken at once."""


InHand = Callable[[], AbstractContextManager[None]]


class ReaderGone(Exception):
    """The process ended; its argument is the status as subprocess says it."""


class Reader:
    """One process. Raises OSError where the machine gives none."""

    def __init__(self) -> None:
        self._link, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-m", f"{__package__}.reader"]
            command += [str(os.getpid()), str(theirs.fileno())]
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=2, pass_fds=[theirs.fileno()]
                )
            except OSError:
                self._link.close()
                raise
        give_way(self._process.pid)  # now: its imports take as long as six steps of streams
        self._link.setblocking(False)

    async def ask(self, job: Job, body: int, draft: int) -> tuple[Head, list[bytes]]:
        """Raises ReaderGone."""
        try:
            socket.send_fds(self._link, [msgspec.msgpack.encode(job)], [body, draft])
            async with asyncio.timeout(READ_SECONDS):
                (length,) = LENGTH.unpack(await self._take(LENGTH.size))
                head = msgspec.msgpack.decode(await self._take(length), type=Head)
                return head, [await self._take(size) for size in head.sizes]
        except TimeoutError:
            await self.end()
            raise ReaderGone(-signal.SIGXCPU) from None
        except (ConnectionError, EOFError):
            raise ReaderGone(await self.end()) from None

    async def _take(self, size: int) -> bytes:
        whole = bytearray()
        while len(whole) < size:
            data = await asyncio.get_running_loop().sock_recv(
                self._link, min(PIECE, size - len(whole))
            )
            if not data:
                raise EOFError
            whole += data
        return bytes(whole)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def end(self) -> int:
        """Its exit status."""
        return await asyncio.to_thread(self.kill().wait)

    def kill(self) -> "subprocess.Popen[bytes]":
        """If it lives; the kernel soon has its exit status."""
        self._link.close()
        self._process.kill()
        return self._process


class Readers:
    """`drafts` keeps the media of what was read."""

    def __init__(self, drafts: MediaStore, terms: Terms) -> None:
        self._drafts, self._terms = drafts, terms
        self._places = asyncio.Semaphore(READERS)
        self._idle: list[Reader] = []
        self._all: set[Reader] = set()
        self.replaced = 0
        """How many have ended, or were ended."""

    async def read(
        self, kind: Kind[B, P], body: int, size: int, in_hand: InHand = nullcontext
    ) -> Call[B, P]:
        """`body`: a file with it; `in_hand` is entered while this process takes up what was read.
        The draft with the media, if there are any, is the caller's. Raises RequestError."""
        async with self._places:
            for spare in (False, True):
                path, draft = self._drafts.draft(spare)
                kept = False
                try:
                    head, pieces = await self._ask(
                        Job(kind.name, size, path, self._terms), body, draft
                    )
                    if head.failure == NO_SPACE and not spare:
                        continue
                    if head.failure is not None:
                        raise RequestError(head.failure)
                    call = Call(
                        unpack_body(kind, head),
                        await _unpack(kind, pieces, in_hand),
                        head.ignored,
                        path if head.blobs else None,
                    )
                    kept = call.draft is not None
                    return call
                finally:
                    os.close(draft)
                    if not kept:
                        self._drafts.discard(path)
        raise AssertionError("the failure with the second draft is raised")

    async def _ask(self, job: Job, body: int, draft: int) -> tuple[Head, list[bytes]]:
        for _ in range(TRIES):
            reader = self._take()
            try:
                answer = await reader.ask(job, body, draft)
            except ReaderGone as gone:
                self._forget(reader)
                log.warning("a reader of bodies has ended (%d)", *gone.args)
                os.ftruncate(draft, 0)
                if gone.args == (-signal.SIGXCPU,):
                    raise RequestError(TOO_COMPLEX) from None
            except BaseException:  # the caller has left: what it sent need not be read to its end
                self._forget(reader)
                await asyncio.shield(reader.end())
                raise
            else:
                self._idle.append(reader)
                return answer
        raise RequestError(POISON)

    def _take(self) -> Reader:
        """An idle one, or a new one. What ended while it was idle is no evidence against a body."""
        while self._idle:
            reader = self._idle.pop()
            if reader.alive:
                return reader
            self._forget(reader)
            reader.kill().wait()
        try:
            reader = Reader()
        except OSError as error:
            raise RequestError(shortage(error) or NO_MEMORY) from None
        self._all.add(reader)
        return reader

    def _forget(self, reader: Reader) -> None:
        self._all.discard(reader)
        self.replaced += 1

    def close(self) -> None:
        """What is being read is lost."""
        for reader in self._all:
            reader.kill().wait()
        self._all.clear()
        self._idle.clear()


async def _unpack(kind: Kind[B, P], pieces: list[bytes], in_hand: InHand) -> list[P]:
    """One after the other, so that others get their turns between them."""
    found: list[P] = []
    for piece in pieces:
        with in_hand():
            found.append(unpack_piece(kind, piece))
        await asyncio.sleep(0)
    return found
