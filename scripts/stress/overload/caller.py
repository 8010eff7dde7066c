"""One caller per request: bytes made beforehand, a connection of its own, and little work, since it
shares the cores."""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any, cast

from thespis.tests.helpers.media import data_url, picture, png, sound, wav

DISTINCT = 48
"""Requests that are told apart; each is sent again and again."""
GIVE_UP_SECONDS = 120.0
END = b"data: [DONE]"


@dataclass
class Outcome:
    """What became of one request; times by `time.monotonic`."""

    sent: float
    status: int = 0
    """0: the connection broke, or nothing came in time."""
    ended: float = 0.0
    whole: bool = False
    """Accepted, and its last event has come."""


@dataclass
class Tally:
    outcomes: list[Outcome] = field(default_factory=list)

    def whole(self, start: float, end: float) -> list[Outcome]:
        """Those that ended well in this time."""
        return [o for o in self.outcomes if o.whole and start <= o.ended < end]


def make_requests(seed: int, key: str, max_tokens: int) -> list[bytes]:
    """Half text alone; pictures, large pictures and sounds share the rest."""
    draw = random.Random(seed)
    return [_request(_content(draw, number), key, max_tokens) for number in range(DISTINCT)]


def _content(draw: random.Random, number: int) -> Any:
    text = {"type": "text", "text": "What is this? " * draw.randint(1, 8)}
    match number % 8:
        case 1 | 5:
            url = data_url("image/png", png(picture(number)))
        case 3:
            url = data_url("image/bmp", _bitmap(number))
        case 7:
            data = data_url("audio/wav", wav(sound(number, 1.0))).partition(",")[2]
            return [text, {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}]
        case _:
            return [text]
    return [text, {"type": "image_url", "image_url": {"url": url}}]


def _bitmap(seed: int) -> bytes:
    """Uncompressed, 150 KB."""
    import io

    file = io.BytesIO()
    picture(seed, 224, 224).save(file, "BMP")
    return file.getvalue()


def _request(content: Any, key: str, max_tokens: int) -> bytes:
    body = json.dumps(
        {
            "messages": [{"role": "user", "content": content}],
            "max_tokens": max_tokens,
            "ignore_eos": True,
            "temperature": 0,
            "stream": True,
        }
    ).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
        "application/json\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


class Caller(asyncio.Protocol):
    """Sends one request when it is connected; `done` when the answer has ended, or the connection
    has."""

    def __init__(self, data: bytes, outcome: Outcome) -> None:
        self._data, self.outcome = data, outcome
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._data)

    def data_received(self, data: bytes) -> None:
        if not self.outcome.status:
            self.outcome.status = int(data[9:12])
            if self.outcome.status != 200:
                self._end()
                return
        self._tail = self._tail[-32:] + data
        if END in self._tail:
            self.outcome.whole = b"event: error" not in self._tail
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if not self.done.done():
            self.outcome.ended = time.monotonic()
            self.done.set_result(None)


async def call(port: int, data: bytes, tally: Tally) -> Outcome:
    """Put one request and wait for its end."""
    outcome = Outcome(time.monotonic())
    tally.outcomes.append(outcome)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            transport, caller = await loop.create_connection(
                lambda: Caller(data, outcome), "127.0.0.1", port
            )
            try:
                await caller.done
            finally:
                transport.abort()
    except (OSError, TimeoutError):
        outcome.ended = time.monotonic()
    return outcome
