"""`thespis bench serve`: latency and throughput of any OpenAI-compatible server, as a table and as JSON."""

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from .api import Api, ApiError

TEXT = (
    "A small troupe of actors crosses the river at dawn and plays before the gate: one speaks, one listens, one keeps the "
    "masks, and the prompter, who never shows himself, holds the book in which every line stands that was ever said. "
)


class Sample(msgspec.Struct):
    """One answered request."""

    first: float
    """Seconds to the first token."""
    gaps: list[float]
    """Seconds between tokens; tokens that came together share their gap."""
    tokens: int
    prompt_tokens: int


class Level(msgspec.Struct):
    """One row of the report: so many streams at once."""

    streams: int
    requests: int
    seconds: float
    tokens: int
    prompt_tokens: int
    tokens_per_second: float
    ttft_ms_p50: float
    ttft_ms_p99: float
    itl_ms_p50: float
    itl_ms_p99: float
    itl_ms_mean: float
    """Bursts, where several tokens are read at once, do not flatter it as they do the median."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="what", metavar="serve", required=True)
    serve = kinds.add_parser("serve", help="a running server", description="Measure a running OpenAI-compatible server.")
    serve.add_argument(
        "--base-url", default="http://127.0.0.1:8000/v1", metavar="URL", help="address of the server (default: %(default)s)"
    )
    serve.add_argument("--api-key", metavar="KEY", help="key of the server (default: none)")
    serve.add_argument("--model", metavar="NAME", help="model to ask (default: the first that the server lists)")
    serve.add_argument(
        "--streams", default="1,8,32", metavar="N,N", help="numbers of concurrent streams, one row each (default: %(default)s)"
    )
    serve.add_argument(
        "--prompt-tokens", type=int, default=32, metavar="N", help="tokens of each prompt (default: %(default)s)"
    )
    serve.add_argument("--max-tokens", type=int, default=128, metavar="N", help="tokens of each answer (default: %(default)s)")
    serve.add_argument("--requests", type=int, metavar="N", help="requests per row (default: two per stream, at least four)")
    serve.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the prompts (default: %(default)s)")
    serve.add_argument("--plain", action="store_true", help="send only OpenAI's own fields, for servers that refuse others")
    serve.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(given: argparse.Namespace) -> int:
    import uvloop

    levels = uvloop.run(measure(given))
    if given.json:
        print(json.dumps([msgspec.to_builtins(level) for level in levels], indent=2))
    return 0


def levels_of(text: str) -> list[int]:
    """`1,8,32`. Raises ValueError."""
    try:
        levels = [int(word) for word in text.split(",")]
    except ValueError:
        levels = []
    if not levels or min(levels) < 1:
        raise ValueError(f"--streams takes numbers with commas between them, such as 1,8,32; got {text!r}.")
    return levels


async def measure(given: argparse.Namespace) -> list[Level]:
    streams = levels_of(given.streams)
    levels: list[Level] = []
    async with Api(given.base_url, given.api_key, connections=max(streams)) as api:
        model = given.model or await api.model()
        prompts = Prompts(await _token_ids(api, model), given.prompt_tokens, given.seed)
        body = request_body(model, given.max_tokens, given.plain)
        await one(api, {**body, "prompt": prompts.next()})  # warm the connection and the server's first steps
        if not given.json:
            print(HEADER, flush=True)
        for count in streams:
            level = await one_level(api, body, prompts, count, given.requests or max(4, 2 * count))
            levels.append(level)
            if not given.json:
                print(row(level), flush=True)
    return levels


def request_body(model: str, max_tokens: int, plain: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream_options": {"include_usage": True},
    }
    return body if plain else {**body, "ignore_eos": True, "return_token_ids": True}


class Prompts:
    """Prompts that no server has seen: each a different arrangement, so that no prefix cache answers."""

    def __init__(self, token_ids: list[int] | None, length: int, seed: int) -> None:
        self._token_ids, self._length = token_ids, length
        self._random = random.Random(seed)

    def next(self) -> list[int] | str:
        if self._token_ids is not None:
            return self._random.choices(self._token_ids, k=self._length)
        return " ".join(self._random.choices(TEXT.split(), k=self._length))


async def _token_ids(api: Api, model: str) -> list[int] | None:
    """Ordinary tokens of this model, or None where the server has no /tokenize: then words stand for tokens."""
    try:
        found = await api.post("/tokenize", {"model": model, "prompt": TEXT})
    except ApiError:
        print("thespis bench: no /tokenize here: prompts are counted in words", file=sys.stderr)
        return None
    ids = found.get("tokens") if isinstance(found, dict) else None
    return [int(id) for id in ids[1:]] if ids else None


async def one_level(api: Api, body: dict[str, Any], prompts: Prompts, streams: int, requests: int) -> Level:
    left = requests
    samples: list[Sample] = []

    async def stream() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            samples.append(await one(api, {**body, "prompt": prompts.next()}))

    begin = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(streams):
            group.create_task(stream())
    return summary(streams, samples, time.perf_counter() - begin)


async def one(api: Api, body: dict[str, Any]) -> Sample:
    """Send one request and time its tokens."""
    begin = last = time.perf_counter()
    first, gaps, tokens, counted, prompt = 0.0, list[float](), 0, 0, 0
    async for chunk in api.stream("/v1/completions", body):
        now = time.perf_counter()
        if chunk.usage is not None:
            counted, prompt = chunk.usage.completion_tokens, chunk.usage.prompt_tokens
        came = sum(len(c.token_ids) if c.token_ids is not None else bool(c.words) for c in chunk.choices)
        if not came:
            continue
        if not tokens:
            first, came_later = now - begin, came - 1
        else:
            came_later = came
        gaps.extend([(now - last) / came] * came_later)
        tokens, last = tokens + came, now
    return Sample(first, gaps, counted or tokens, prompt)


def summary(streams: int, samples: Sequence[Sample], seconds: float) -> Level:
    firsts = [sample.first for sample in samples]
    gaps = [gap for sample in samples for gap in sample.gaps]
    tokens = sum(sample.tokens for sample in samples)
    return Level(
        streams=streams,
        requests=len(samples),
        seconds=round(seconds, 3),
        tokens=tokens,
        prompt_tokens=sum(sample.prompt_tokens for sample in samples),
        tokens_per_second=round(tokens / seconds, 1),
        ttft_ms_p50=milliseconds(firsts, 0.5),
        ttft_ms_p99=milliseconds(firsts, 0.99),
        itl_ms_p50=milliseconds(gaps, 0.5),
        itl_ms_p99=milliseconds(gaps, 0.99),
        itl_ms_mean=round(sum(gaps) / len(gaps) * 1000, 3) if gaps else 0.0,
    )


def milliseconds(seconds: Sequence[float], quantile: float) -> float:
    """The nearest-rank quantile of `seconds`, in milliseconds; 0 where there are none."""
    ordered = sorted(seconds)
    if not ordered:
        return 0.0
    return round(ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] * 1000, 3)


HEADER = "streams  requests  tokens/s  TTFT p50 ms  TTFT p99 ms  ITL p50 ms  ITL p99 ms"


def row(level: Level) -> str:
    return (
        f"{level.streams:7d}  {level.requests:8d}  {level.tokens_per_second:8.0f}  {level.ttft_ms_p50:11.1f}  "
        f"{level.ttft_ms_p99:11.1f}  {level.itl_ms_p50:10.2f}  {level.itl_ms_p99:10.2f}"
    )
