"""Callers who want nothing special, beside the hostile ones: four streams of text, and one who
shows small pictures."""

import asyncio
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp

from thespis.tests.helpers.media import data_url, picture, png

from .shot import CHAT, chat

STREAMS = 4
TOKENS = 160
"""Of a stream's answer."""
PICTURES = 3
"""That are told apart."""
SHOWN = 8


class Gap(NamedTuple):
    """Between two events of one stream; by `time.monotonic`."""

    start: float
    end: float
    said: int = 0
    """Tokens that had come before; none: the stream waited for its first."""

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass
class Calm:
    """Keeps its callers going until `stop`. The first answer of each request is what all later ones
    must be."""

    url: str
    tokens: int = TOKENS
    gaps: list[Gap] = field(default_factory=list)
    answers: int = 0
    pictures: int = 0
    wrong: list[str] = field(default_factory=list)
    """What differed from the undisturbed answer, or broke."""
    wrongs: int = 0
    _wants: dict[str, list[int]] = field(default_factory=dict)
    _stopping: bool = False

    async def __aenter__(self) -> "Calm":
        self._http = aiohttp.ClientSession(self.url, connector=aiohttp.TCPConnector(limit=0))
        for number in range(STREAMS):
            await self._put(f"text {number}", self._text(number), [])
        for number in range(PICTURES):
            await self._put(f"picture {number}", _shown(number), [])
        self._tasks = [asyncio.create_task(self._go_on(number)) for number in range(STREAMS)]
        self._tasks.append(asyncio.create_task(self._show()))
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)
        await self._http.close()

    def check(self) -> None:
        """Raise what ended a caller, if anything did."""
        for task in self._tasks:
            if task.done() and not self._stopping:
                task.result()

    async def _go_on(self, number: int) -> None:
        while not self._stopping:
            self.answers += 1
            await self._put(f"text {number}", self._text(number), self.gaps)

    async def _show(self) -> None:
        while not self._stopping:
            number = self.pictures % PICTURES
            self.pictures += 1
            await self._put(f"picture {number}", _shown(number), [])
            await asyncio.sleep(0.2)

    def _text(self, number: int) -> dict[str, Any]:
        return chat(f"Say {number} words about the sea.") | {
            "max_tokens": self.tokens,
            "ignore_eos": True,
        }

    async def _put(self, name: str, body: dict[str, Any], gaps: list[Gap]) -> None:
        said, error = list[int](), None
        try:
            async with self._http.post(
                CHAT, json={**body, "stream": True, "return_token_ids": True}
            ) as response:
                before = 0.0
                async for line in response.content:
                    if not line.startswith(b"data: {"):
                        continue
                    now, event = time.monotonic(), json.loads(line[6:])
                    if before:
                        gaps.append(Gap(before, now, len(said)))
                    before = now
                    for choice in event.get("choices", ()):
                        said += choice.get("token_ids") or ()
                    error = event["error"]["code"] if "error" in event else error
                error = error if response.status == 200 else f"status {response.status}"
        except (aiohttp.ClientError, ConnectionError) as broken:
            error = type(broken).__name__
            await asyncio.sleep(0.2)
        want = self._wants.setdefault(name, said)
        if error is not None or said != want:
            self.wrongs += 1
            self.wrong = [*self.wrong, f"{name}: {error or 'another answer than undisturbed'}"][
                :SHOWN
            ]


def _shown(number: int) -> dict[str, Any]:
    part = {
        "type": "image_url",
        "image_url": {"url": data_url("image/png", png(picture(number, 84, 56)))},
    }
    return chat([part, {"type": "text", "text": "Where is the red circle?"}]) | {"max_tokens": 12}


def quantile(gaps: Iterable[Gap], share: float) -> float:
    """Seconds; 0 where there are none."""
    seconds = sorted(gap.seconds for gap in gaps)
    return seconds[min(len(seconds) - 1, int(share * len(seconds)))] if seconds else 0.0
