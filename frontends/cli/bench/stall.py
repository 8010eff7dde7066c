"""`thespis bench stall`: how long text streams stand still while heavy media arrive beside them."""

import argparse
import asyncio
import statistics
from collections.abc import Iterable
from typing import Any

import msgspec

from ..api import Api
from .asking import (
    CHAT,
    Prompts,
    Sample,
    add_server_arguments,
    add_size_argument,
    clip_part,
    clip_url,
    conversation,
    one,
    picture_part,
    picture_url,
    request_body,
    text_part,
    together,
)
from .numbers import number
from .report import Cell, milliseconds, print_cells, progress

LINE = (
    "a running server's text streams while pictures or clips arrive: their longest gap, and what "
    "the media wait"
)
HEAVY_TOKENS = 8
UNDER_WAY = 32
"""Tokens of each stream before the media are sent."""
FRAMES = 16


class Stall(msgspec.Struct):
    """Medians of the rounds, in milliseconds."""

    undisturbed_p50_ms: float
    """Between two tokens of a stream before the media are sent."""
    longest_gap_ms: float
    """From the arrival of the media to the last one's first token."""
    media_ttft_ms: float
    tokens_beside: float
    """Of all streams in that time."""
    window_s: float

    def cells(self, what: str) -> list[Cell]:
        return [
            Cell(f"{what}: undisturbed gap p50", self.undisturbed_p50_ms, "ms"),
            Cell(f"{what}: longest gap", self.longest_gap_ms, "ms"),
            Cell(f"{what}: TTFT of the media", self.media_ttft_ms, "ms"),
        ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_server_arguments(parser)
    add_stall_arguments(parser)
    parser.add_argument(
        "--rounds",
        type=number(1),
        default=3,
        metavar="N",
        help="of which the medians are shown (default: %(default)s)",
    )


def add_stall_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--heavy",
        choices=("image", "video"),
        default="image",
        help="what arrives beside the text (default: %(default)s)",
    )
    add_size_argument(parser, 1024)
    parser.add_argument(
        "--items",
        type=number(1),
        default=4,
        metavar="N",
        help="requests with one each (default: %(default)s)",
    )
    parser.add_argument(
        "--text-streams",
        type=number(1),
        default=4,
        metavar="N",
        help="streams of text (default: %(default)s)",
    )
    parser.add_argument(
        "--stream-tokens",
        type=number(UNDER_WAY + 1),
        default=400,
        metavar="N",
        help="tokens of each stream of text (default: %(default)s)",
    )


def run(given: argparse.Namespace) -> int:
    import uvloop

    found = uvloop.run(measure(given))
    print_cells(given, found.cells(given.heavy), msgspec.to_builtins(found))
    return 0


async def measure(given: argparse.Namespace) -> Stall:
    """Raises ApiError."""
    connections = given.items + given.text_streams
    async with Api(given.base_url, given.api_key, connections=connections) as api:
        model = await api.model(given.model)
        rounds = []
        with progress(given.rounds, given.heavy) as bar:
            for nth in range(given.rounds):
                rounds.append(await one_round(api, model, given, nth))
                bar.update()
    return Stall(
        *(
            statistics.median(getattr(each, name) for each in rounds)
            for name in Stall.__struct_fields__
        )
    )


class _Watched:
    """Streams of text, and the moment when all of them are under way."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.under_way = asyncio.Event()

    def reached(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self.under_way.set()


async def one_round(api: Api, model: str, given: argparse.Namespace, nth: int) -> Stall:
    seed = (
        given.seed * 1_000_000 + 700_000 + nth * 1000
    )  # other pictures than those of `bench serve`
    prompts = Prompts(None, 24, seed)
    heavy = [
        _heavy(given, seed + item, model, prompts) for item in range(given.items)
    ]  # before the streams: this takes time
    text = request_body(model, given.stream_tokens, given.plain)
    streams = _Watched(given.text_streams)

    async def media() -> list[Sample]:
        await streams.under_way.wait()
        return await together(one(api, CHAT, body) for body in heavy)

    async def texts() -> list[Sample]:
        bodies = [
            {**text, **conversation(text_part(prompts.words()))} for _ in range(given.text_streams)
        ]
        return await together(one(api, CHAT, body, UNDER_WAY, streams.reached) for body in bodies)

    beside, arrived = await together((texts(), media()))
    return judged(beside, arrived)


def _heavy(given: argparse.Namespace, seed: int, model: str, prompts: Prompts) -> dict[str, Any]:
    if given.heavy == "image":
        part = picture_part(picture_url(seed, given.size))
    else:
        part = clip_part(clip_url(seed, given.size, FRAMES))
    return {
        **request_body(model, HEAVY_TOKENS, given.plain),
        **conversation(part, text_part(prompts.words())),
    }


def judged(streams: Iterable[Sample], media: Iterable[Sample]) -> Stall:
    """Gaps that end after the arrival of the media, and begin before the last one's first token,
    count as beside them."""
    arrival = min(sample.began for sample in media)
    end = max(sample.began + sample.first for sample in media)
    before, beside = list[float](), list[float]()
    for sample in streams:
        last = sample.began + sample.first
        for gap in sample.gaps:
            if last + gap <= arrival:
                before.append(gap)
            elif last < end:
                beside.append(gap)
            last += gap
    return Stall(
        milliseconds(before, 0.5),
        milliseconds(beside, 1.0),
        milliseconds([sample.first for sample in media], 0.5),
        len(beside),
        end - arrival,
    )
