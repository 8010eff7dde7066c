"""`thespis bench cache`: time to the first token of a new picture, of one that is known, of its id
alone, and of text."""

import argparse
from typing import Any

import msgspec

from ..api import Api
from .asking import (
    CHAT,
    Prompts,
    add_server_arguments,
    add_size_argument,
    conversation,
    one,
    picture_part,
    picture_url,
    request_body,
    text_part,
)
from .numbers import number
from .report import Cell, milliseconds, print_cells, progress

LINE = "a running server's time to the first token: new picture, same picture, its id alone, text"
TOKENS = 2


class FirstTokens(msgspec.Struct):
    """Medians, in milliseconds."""

    new_picture_ms: float
    same_picture_ms: float
    id_only_ms: float
    text_ms: float

    def cells(self) -> list[Cell]:
        return [
            Cell("TTFT, new picture", self.new_picture_ms, "ms"),
            Cell("TTFT, same picture", self.same_picture_ms, "ms"),
            Cell("TTFT, id only", self.id_only_ms, "ms"),
            Cell("TTFT, text", self.text_ms, "ms"),
        ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_server_arguments(parser)
    add_size_argument(parser, 336)
    parser.add_argument(
        "--requests",
        type=number(1),
        default=8,
        metavar="N",
        help="of each kind (default: %(default)s)",
    )


def run(given: argparse.Namespace) -> int:
    import uvloop

    found = uvloop.run(measure(given))
    print_cells(given, found.cells(), msgspec.to_builtins(found))
    return 0


async def measure(given: argparse.Namespace) -> FirstTokens:
    """One request at a time."""
    async with Api(given.base_url, given.api_key, connections=1) as api:
        model = await api.model(given.model)
        body = request_body(model, TOKENS, given.plain)
        seed = given.seed * 1_000_000 + 500_000  # other pictures than those of `bench serve`
        prompts = Prompts(None, 24, seed)
        known, name = picture_url(seed, given.size), f"bench-{seed}-{given.size}"
        kinds: list[tuple[str, list[dict[str, Any] | None]]] = [
            (
                "new",
                [
                    picture_part(picture_url(seed + 1 + n, given.size))
                    for n in range(given.requests)
                ],
            ),
            ("same", [picture_part(known)] * (given.requests + 1)),
            ("id", [picture_part(known, name), *[picture_part(None, name)] * given.requests]),
            ("text", [None] * given.requests),
        ]
        took: dict[str, float] = {}
        with progress(sum(len(parts) for _, parts in kinds), "requests") as bar:
            for kind, parts in kinds:
                seconds = []
                for part in parts:
                    content = (
                        [text_part(prompts.words())]
                        if part is None
                        else [part, text_part(prompts.words())]
                    )
                    seconds.append((await one(api, CHAT, {**body, **conversation(*content)})).first)
                    bar.update()
                took[kind] = milliseconds(
                    seconds[-given.requests :], 0.5
                )  # not the one that made it known
    return FirstTokens(took["new"], took["same"], took["id"], took["text"])
