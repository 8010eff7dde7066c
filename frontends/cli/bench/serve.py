"""`thespis bench serve`: latency and throughput of any OpenAI-compatible server, as a table and as
JSON."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..api import Api
from .asking import (
    CHAT,
    COMPLETIONS,
    Prompts,
    Sample,
    add_server_arguments,
    conversation,
    one,
    request_body,
    text_part,
    together,
    token_ids_of,
)
from .media import Media, add_media_arguments
from .numbers import number, numbers
from .report import Cell, milliseconds, plot, progress

LINE = (
    "a running OpenAI-compatible server: tokens per second, time to the first token and between "
    "tokens"
)


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

    def cells(self, what: str = "text") -> list[Cell]:
        name = f"{what}, {self.streams} stream{'s' if self.streams > 1 else ''}"
        return [
            Cell(name, self.tokens_per_second, "tokens/s"),
            Cell(f"{name}: TTFT p50", self.ttft_ms_p50, "ms"),
            Cell(f"{name}: ITL p99", self.itl_ms_p99, "ms"),
        ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_server_arguments(parser)
    add_load_arguments(parser)
    add_media_arguments(parser)


def add_load_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--streams",
        type=numbers,
        default="1,8,32",
        metavar="N,N",
        help="numbers of concurrent streams, one row each (default: %(default)s)",
    )
    parser.add_argument(
        "--prompt-tokens",
        type=number(1),
        default=32,
        metavar="N",
        help="tokens of each prompt (default: %(default)s)",
    )
    parser.add_argument(
        "--max-tokens",
        type=number(1),
        default=128,
        metavar="N",
        help="tokens of each answer (default: %(default)s)",
    )
    parser.add_argument(
        "--requests",
        type=number(1),
        metavar="N",
        help="requests per row (default: two per stream, at least four)",
    )


def run(given: argparse.Namespace) -> int:
    import uvloop

    levels = uvloop.run(measure(given))
    if given.json:
        print(json.dumps([msgspec.to_builtins(level) for level in levels], indent=2))
    if given.plot:
        what = "+".join(given.media or ("text",))
        plot(Path(given.plot), {"": [cell for level in levels for cell in level.cells(what)]})
    return 0


async def measure(given: argparse.Namespace) -> list[Level]:
    streams: list[int] = given.streams
    levels: list[Level] = []
    async with Api(given.base_url, given.api_key, connections=max(streams)) as api:
        load = await Load.of(api, given)
        await load.warm()
        if not given.json:
            print(HEADER, flush=True)
        for count in streams:
            level = await load.level(count, given.requests or max(4, 2 * count))
            levels.append(level)
            if not given.json:
                print(row(level), flush=True)
    return levels


class Load:
    """Requests of one kind to one server: texts, or with `media` an item before each."""

    def __init__(
        self, api: Api, body: dict[str, Any], prompts: Prompts, media: Media | None
    ) -> None:
        self._api, self._body, self._prompts, self._media = api, body, prompts, media

    @classmethod
    async def of(cls, api: Api, given: argparse.Namespace) -> "Load":
        model = await api.model(given.model)
        ids = None if given.media else await token_ids_of(api, model)
        body = request_body(model, given.max_tokens, given.plain)
        media = None
        if given.media:
            seed = given.seed * 1_000_000
            media = Media(
                given.media, given.size, given.seconds, given.repeat, seed, plain=given.plain
            )
        return cls(api, body, Prompts(ids, given.prompt_tokens, given.seed), media)

    def _request(self) -> tuple[str, dict[str, Any]]:
        if self._media is None:
            return COMPLETIONS, {**self._body, "prompt": self._prompts.next()}
        parts = self._media.next(), text_part(self._prompts.words())
        return CHAT, {**self._body, **conversation(*parts)}

    async def warm(self) -> None:
        """The connection, and the server's first steps."""
        await one(self._api, *self._request())

    async def level(self, streams: int, requests: int) -> Level:
        """So many requests, so many of them at once. They are made before the clock starts: the
        client shares the machine."""
        left = []
        with progress(requests, "making media" if self._media else "making prompts") as bar:
            for _ in range(requests):
                left.append(self._request())
                bar.update()
        samples: list[Sample] = []
        with progress(requests, f"{streams} streams") as bar:

            async def stream() -> None:
                while left:
                    samples.append(await one(self._api, *left.pop()))
                    bar.update()

            begin = time.perf_counter()
            await together(stream() for _ in range(streams))
            return summary(streams, samples, time.perf_counter() - begin)


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


HEADER = "streams  requests  tokens/s  TTFT p50 ms  TTFT p99 ms  ITL p50 ms  ITL p99 ms"


def row(level: Level) -> str:
    return (
        f"{level.streams:7d}  {level.requests:8d}  {level.tokens_per_second:8.0f}  "
        f"{level.ttft_ms_p50:11.1f}  "
        f"{level.ttft_ms_p99:11.1f}  {level.itl_ms_p50:10.2f}  {level.itl_ms_p99:10.2f}"
    )
