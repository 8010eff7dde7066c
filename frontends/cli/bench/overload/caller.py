"""One caller per request: bytes made beforehand, a connection of its own, and little work, since it
shares the cores."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast

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
