"""A shot on a connection of its own, and the answers that came back, taken apart."""

import asyncio
import io
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import Any, NamedTuple

from .shot import Shot

PATIENCE_SECONDS = 35.0
"""For an answer beyond what it may take, so that the report says how late it was."""
MOST_ANSWER = 16 << 20
"""Bytes that are kept of the answers."""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool


@dataclass
class Exchange:
    """What happened on the connection; times by `time.monotonic`."""

    began: float
    sent: float = 0.0
    """When the last byte had been written, or the caller stopped writing because the answer was
    there."""
    ended: float = 0.0
    received: bytearray = field(default_factory=bytearray)
    refused: bool = False
    """Nobody listens."""
    timed_out: bool = False

    @property
    def seconds(self) -> float:
        """That the server took: a caller's own slowness does not count."""
        return max(0.0, self.ended - self.sent)


async def fire(port: int, shot: Shot) -> Exchange:
    """Write the shot and read until the server closes, the caller leaves, or nobody has patience
    any more."""
    exchange = Exchange(time.monotonic())
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        exchange.refused, exchange.sent, exchange.ended = True, exchange.began, time.monotonic()
        return exchange
    reading = asyncio.create_task(_read(reader, exchange))
    writing = asyncio.create_task(_write(writer, shot))
    patience = shot.seconds + PATIENCE_SECONDS
    try:
        await asyncio.wait(
            [reading, writing], return_when=asyncio.FIRST_COMPLETED, timeout=patience
        )
        exchange.sent = time.monotonic()
        leaves = patience if shot.leaves is None else shot.leaves
        done, _ = await asyncio.wait([reading], timeout=leaves)
        exchange.timed_out = not done and shot.leaves is None
    finally:
        exchange.ended = time.monotonic()
        reading.cancel()
        writing.cancel()
        await asyncio.gather(reading, writing, return_exceptions=True)
        writer.transport.abort()
    return exchange


async def _read(reader: asyncio.StreamReader, exchange: Exchange) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            exchange.received += data[: max(0, MOST_ANSWER - len(exchange.received))]


async def _write(writer: asyncio.StreamWriter, shot: Shot) -> None:
    with suppress(ConnectionError):
        for number, piece in enumerate(shot.pieces):
            if number and shot.pause:
                await asyncio.sleep(shot.pause)
            for at in range(0, len(piece), 1 << 18):
                writer.write(memoryview(piece)[at : at + (1 << 18)])
                await writer.drain()


def answers_in(received: bytes, methods: tuple[str, ...]) -> list[Answer]:
    """The answers to requests of these methods, as far as they have come. Raises ValueError for
    what is no HTTP."""
    source, found = _Bytes(received), list[Answer]()
    for method in methods:
        if not source.has_head:
            break  # no more answers, or the caller has left in the middle of a head
        response = HTTPResponse(source, method=method)  # type: ignore[arg-type]
        try:
            response.begin()
        except (HTTPException, ValueError):
            raise ValueError("the answer is not HTTP") from None
        try:
            found.append(Answer(response.status, response.headers, response.read(), whole=True))  # type: ignore[arg-type]
        except HTTPException as cut:
            partial = getattr(cut, "partial", b"")
            found.append(Answer(response.status, response.headers, partial, whole=False))  # type: ignore[arg-type]
    return found


class _Bytes:
    """What http.client takes for a socket; all responses are read from one file."""

    def __init__(self, data: bytes) -> None:
        self._data, self._file = data, _Unclosed(data)

    @property
    def has_head(self) -> bool:
        return self._data.find(b"\r\n\r\n", self._file.tell()) >= 0

    def makefile(self, *args: Any) -> io.BytesIO:
        return self._file


class _Unclosed(io.BytesIO):
    def close(self) -> None:
        """The next response begins where this one ended."""
