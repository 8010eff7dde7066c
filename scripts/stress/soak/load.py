"""Requests at a steady rate: texts, pictures, clips and sounds, known and new, named and not; some
leave, some are wrong."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

import aiohttp

from ..faces import Face, observe
from ..history import LEFT, Leave, Record
from ..pool import Ask, make_pool

LEAST, MOST = 4, 24
"""Tokens of an answer."""
FRESH = 64
"""Pools: each has pictures, clips and sounds of its own, and then the first comes again."""
USES = 60
"""Requests drawn from a pool before the next one's turn: most of its media are met a second time,
from a cache."""
LEAVING, STAY_SECONDS = 1 / 8, 0.5
WRONG = 1 / 10
"""Shares of the requests whose callers leave, and that are refused."""
AT_ONCE = 48
"""Requests under way, at most: what is due beyond is not put, and counted as late."""
FAILURES_SHOWN = 10

PNG = "data:image/png;base64,"
BAD: tuple[tuple[dict[str, Any], frozenset[int]], ...] = (
    ({"messages": "no list"}, frozenset({400})),
    ({"model": "another", "messages": [{"role": "user", "content": "Hello"}]}, frozenset({404})),
    (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": f"{PNG}AAAA"}}],
                }
            ]
        },
        frozenset({422}),
    ),
    ({"messages": [{"role": "user", "content": "long " * 40_000}]}, frozenset({400})),
    (
        {"messages": [{"role": "user", "content": "Hello"}], "response_format": {"type": "regex?"}},
        frozenset({400}),
    ),
    (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "uuid": "nobody's", "image_url": None}],
                }
            ]
        },
        frozenset({400, 404, 422}),
    ),
)
"""Bodies, and the statuses that they may be answered with."""


class SteadyLoad:
    """Puts `rate` requests a second on `faces` in turn, until `stop`; `http` takes the wrong
    ones."""

    def __init__(
        self,
        faces: list[Face],
        http: aiohttp.ClientSession,
        key: str,
        media_url: str,
        seed: int,
        say: Callable[[str], None],
    ) -> None:
        self._faces, self._http, self._key, self._media_url, self._say = (
            faces,
            http,
            key,
            media_url,
            say,
        )
        self._seed = seed
        self._draw = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._pools: dict[int, list[Ask]] = {}
        self.counts: Counter[str] = Counter()
        """`answered`, `left`, `refused` (as they should be), `failed`, `late`; and `tokens`."""

    @property
    def done(self) -> int:
        """Requests that have ended, in whichever way."""
        return sum(self.counts[name] for name in ("answered", "left", "refused", "failed"))

    async def run(self, rate: float, seconds: float) -> None:
        """Begin requests for so long, at even distances, and wait until all have ended."""
        start = time.monotonic()
        for number in count():
            due = start + number / rate
            if due > start + seconds:
                break
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if len(self._tasks) >= AT_ONCE:
                self.counts["late"] += 1
                continue
            task = asyncio.create_task(self._put(number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await asyncio.gather(*self._tasks)

    async def _put(self, number: int) -> None:
        if self._draw.random() < WRONG:
            await self._put_wrong(*self._draw.choice(BAD))
            return
        ask = self._draw.choice(self._pool(number))
        face = self._faces[number % len(self._faces)]
        leave = None
        if self._draw.random() < LEAVING:
            leave = Leave(
                time.monotonic() + self._draw.uniform(0.0, STAY_SECONDS),
                self._draw.choice(face.ways),
            )
        record = Record(ask.name, face.name, time.monotonic(), leave)
        await observe(face, ask, record)
        self.counts["tokens"] += sum(len(said.token_ids) for said in record.said)
        error = record.ended[-1].error
        if error is None:
            self.counts["answered"] += 1
        elif leave is not None and error == LEFT[leave.way]:
            self.counts["left"] += 1
        else:
            self._failed(f"{face.name} {ask.name}: {error}")

    async def _put_wrong(self, body: dict[str, Any], statuses: frozenset[int]) -> None:
        headers = {"Authorization": f"Bearer {self._key}"}
        try:
            async with self._http.post(
                "/v1/chat/completions", json=body, headers=headers
            ) as response:
                await response.read()
                if response.status in statuses:
                    self.counts["refused"] += 1
                else:
                    self._failed(
                        f"a wrong request was answered {response.status}, not {sorted(statuses)}"
                    )
        except aiohttp.ClientError as error:
            self._failed(f"a wrong request broke the connection: {type(error).__name__}")

    def _pool(self, number: int) -> list[Ask]:
        turn = number // USES % FRESH
        if turn not in self._pools:
            self._pools[turn] = make_pool(self._seed + 7919 * turn, LEAST, MOST)
        return self._pools[turn]

    def _failed(self, what: str) -> None:
        self.counts["failed"] += 1
        if self.counts["failed"] <= FAILURES_SHOWN:
            self._say(f"FAILED: {what}")
