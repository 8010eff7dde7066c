"""What all clients ask: the bundled model knows the picture, the sound and two questions."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import pytest
from pydantic import BaseModel, Field

MODEL = "demo_model"
MEDIA = Path(__file__).resolve().parents[2] / "demo_model/media"
PICTURE, SOUND = MEDIA / "picture.png", MEDIA / "sound.wav"
BASE64 = base64.b64encode(PICTURE.read_bytes()).decode()
DATA = f"data:image/png;base64,{BASE64}"
QUESTION, ANSWER = "Where is the red circle?", "left of the blue square"
HEARD_QUESTION, HEARD_ANSWER = "What do you hear?", "three beeps, rising"
PARTS: Any = [
    {"type": "image_url", "image_url": {"url": DATA}},
    {"type": "text", "text": QUESTION},
]
SEEN: Any = [{"role": "user", "content": PARTS}]
HEARD: Any = [
    {
        "role": "user",
        "content": [
            {
                "type": "input_audio",
                "input_audio": {
                    "data": base64.b64encode(SOUND.read_bytes()).decode(),
                    "format": "wav",
                },
            },
            {"type": "text", "text": HEARD_QUESTION},
        ],
    }
]
BROKEN: Any = [
    {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,bm9uZQ=="}},
            {"type": "text", "text": QUESTION},
        ],
    }
]
"""A picture that is none: 422, and its place is named."""
WHERE = "messages[0].content[0]"
ENDLESS: Any = {"ignore_eos": True}
"""An answer goes on to its `max_tokens`."""


class Weather(BaseModel):
    """The weather in a city."""

    city: Literal["Oslo", "Rome"]
    sure: bool = True


class Rain(BaseModel):
    kind: Literal["rain"] = "rain"
    millimetres: int = Field(ge=0, le=99)


class Sun(BaseModel):
    kind: Literal["sun"] = "sun"
    hours: int = Field(ge=0, le=24)


class Forecast(BaseModel):
    """The weather in a city."""

    # As people write their classes: open, with a default, an optional part and a union with tags.

    city: Literal["Oslo", "Rome"]
    sky: Annotated[Rain | Sun, Field(discriminator="kind")]
    wind: int | None = Field(default=None, ge=0, le=12)
    sure: bool = True


def get_weather(city: Literal["Oslo", "Rome"]) -> str:
    """The weather in a city."""
    return f"rain in {city}"


async def left_half_way(
    stream: Any, url: str, until: Callable[[Any], object] = lambda piece: True
) -> None:
    """At the first piece that is as it should be."""
    async with cancelled(url):
        async for piece in stream:
            if until(piece):
                break
        await (stream.aclose() if hasattr(stream, "aclose") else stream.close())


@asynccontextmanager
async def cancelled(url: str) -> AsyncIterator[None]:
    """What is left inside ends at the server, too, and not because its answer is whole."""
    before = await _aborted(url)
    yield
    for _ in range(200):
        if await _aborted(url) > before:
            return
        await asyncio.sleep(0.05)
    pytest.fail("the server has cancelled nothing")


async def _aborted(url: str) -> float:
    """Calls, by the server's own count."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{url.removesuffix('/v1')}/metrics")).text
    ends = [line for line in text.splitlines() if line.startswith("thespis_answers_total{")]
    return sum(float(line.split()[-1]) for line in ends if '"abort"' in line)


async def ends(url: str) -> None:
    """Nothing is under way at the server any more; what was left may have been answered whole."""
    load = f"{url.removesuffix('/v1')}/load"
    async with httpx.AsyncClient() as client:
        for _ in range(200):
            if (await client.get(load)).json()["server_load"] == 0:
                return
            await asyncio.sleep(0.05)
    pytest.fail("the request goes on")
