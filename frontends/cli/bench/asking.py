"""Requests that no server has seen, and what each of them took."""

import argparse
import asyncio
import base64
import io
import random
import sys
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

import msgspec

from ..api import Api, ApiError
from .numbers import LARGEST_SIDE, number, plot_file, some_seed

TEXT = (
    "A small troupe of actors crosses the river at dawn and plays before the gate: one speaks, "
    "one listens, one keeps the "
    "masks, and the prompter, who never shows himself, holds the book in which every line stands "
    "that was ever said. "
)
T = TypeVar("T")
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


class Sample(msgspec.Struct):
    """One answered request."""

    first: float
    """Seconds to the first token."""
    gaps: list[float]
    """Seconds between tokens; tokens that came together share their gap."""
    tokens: int
    prompt_tokens: int
    began: float = 0.0
    """Of the process's clock, `time.perf_counter`."""

    @property
    def seconds(self) -> float:
        return self.first + sum(self.gaps)


def add_server_arguments(parser: argparse.ArgumentParser, *, one: bool = True) -> None:
    """Which server is asked, what for, and how the result is printed. `one`: there is one
    server."""
    if one:
        parser.add_argument(
            "--base-url",
            default="http://127.0.0.1:8000/v1",
            metavar="URL",
            help="address of the server (default: %(default)s)",
        )
        parser.add_argument(
            "--model",
            metavar="NAME",
            help="model to ask (default: the first that the server lists)",
        )
    parser.add_argument("--api-key", metavar="KEY", help="key of the server (default: none)")
    add_seed_argument(parser)
    parser.add_argument(
        "--plain",
        action="store_true",
        help="send only OpenAI's own fields, for servers that refuse others",
    )
    add_output_arguments(parser)


def add_seed_argument(parser: argparse.ArgumentParser) -> None:
    text = "seed of prompts and media (default: another each time, which is said)"
    parser.add_argument("--seed", type=number(0), default=some_seed(), metavar="N", help=text)


def add_size_argument(
    parser: argparse.ArgumentParser, default: int, what: str = "a picture"
) -> None:
    text = f"width and height of {what} (default: %(default)s)"
    parser.add_argument(
        "--size", type=number(1, LARGEST_SIDE), default=default, metavar="PIXELS", help=text
    )


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--plot",
        type=plot_file,
        metavar="FILE",
        help="draw the figures into this file (.svg, .png or .pdf; needs matplotlib)",
    )


class Prompts:
    """Prompts that no server has seen: each a different arrangement, so that no prefix cache
    answers."""

    def __init__(self, token_ids: list[int] | None, length: int, seed: int) -> None:
        self._token_ids, self._length = token_ids, length
        self._random = random.Random(seed)

    def next(self) -> list[int] | str:
        """Token ids, where the server tells them; words elsewhere, one for each token that was
        asked for."""
        if self._token_ids is not None:
            return self._random.choices(self._token_ids, k=self._length)
        return self.words()

    def words(self) -> str:
        return " ".join(self._random.choices(TEXT.split(), k=self._length))


async def token_ids_of(api: Api, model: str) -> list[int] | None:
    """Ordinary tokens of this model, or None where the server has no /tokenize: then words stand
    for tokens."""
    try:
        found = await api.post("/tokenize", {"model": model, "prompt": TEXT})
    except ApiError:
        print("thespis bench: no /tokenize here: prompts are counted in words", file=sys.stderr)
        return None
    ids = found.get("tokens") if isinstance(found, dict) else None
    return [int(id) for id in ids[1:]] if ids else None


def request_body(model: str, max_tokens: int, plain: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream_options": {"include_usage": True},
    }
    return body if plain else {**body, "ignore_eos": True, "return_token_ids": True}


def conversation(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def picture_part(url: str | None, uuid: str | None = None) -> dict[str, Any]:
    """`url` may be absent where the server knows the picture by its id."""
    part: dict[str, Any] = {"type": "image_url", "image_url": None if url is None else {"url": url}}
    return part if uuid is None else {**part, "uuid": uuid}


def clip_part(url: str) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": url}}


def picture_bytes(seed: int, size: int) -> bytes:
    """A PNG of `size` by `size` pixels of noise: nothing in it can be compressed, and no two are
    alike."""
    import numpy as np
    from PIL import Image

    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def picture_url(seed: int, size: int) -> str:
    return "data:image/png;base64," + base64.b64encode(picture_bytes(seed, size)).decode()


def clip_url(seed: int, size: int, frames: int) -> str:
    """Frames as JPEGs with commas between them, the form that needs no container."""
    import numpy as np
    from PIL import Image

    random_numbers = np.random.default_rng(seed)
    encoded = []
    for _ in range(frames):
        stream = io.BytesIO()
        pixels = random_numbers.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(stream, "JPEG")
        encoded.append(base64.b64encode(stream.getvalue()).decode())
    return "data:video/jpeg;base64," + ",".join(encoded)


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What each made. The first that fails ends the others, and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def one(
    api: Api,
    path: str,
    body: dict[str, Any],
    mark: int = 0,
    reached: Callable[[], None] | None = None,
) -> Sample:
    """Send one request and time its tokens; `reached` is called once, when `mark` tokens have come.
    Raises ApiError."""
    begin = last = time.perf_counter()
    first, gaps, tokens, counted, prompt = 0.0, list[float](), 0, 0, 0
    async for chunk in api.stream(path, body):
        now = time.perf_counter()
        if chunk.usage is not None:
            counted, prompt = chunk.usage.completion_tokens, chunk.usage.prompt_tokens
        came = sum(
            len(c.token_ids) if c.token_ids is not None else bool(c.words or c.thought)
            for c in chunk.choices
        )
        if not came:
            continue
        if not tokens:
            first, came_later = now - begin, came - 1
        else:
            came_later = came
        gaps.extend([(now - last) / came] * came_later)
        if reached is not None and tokens < mark <= tokens + came:
            reached()
        tokens, last = tokens + came, now
    return Sample(first, gaps, counted or tokens, prompt, begin)
