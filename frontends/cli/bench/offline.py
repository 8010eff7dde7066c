"""`thespis bench offline`: a batch through the offline `LLM`, as a script would give it."""

import argparse
import time
from io import BytesIO
from typing import Any

import msgspec

from ....protocol.config.engine import EngineConfig
from ..flags import add_flags, add_model, build
from .asking import (
    Prompts,
    add_output_arguments,
    add_seed_argument,
    add_size_argument,
    picture_bytes,
)
from .numbers import number
from .report import Cell, print_cells

LINE = "batches through the offline LLM class: texts, and pictures"


class Batch(msgspec.Struct):
    what: str
    prompts: int
    prompt_tokens: int
    tokens: int
    seconds: float

    def cells(self) -> list[Cell]:
        name = f"{self.prompts} {self.what}"
        return [Cell(name, self.seconds, "s"), Cell(name, self.tokens / self.seconds, "tokens/s")]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--texts",
        type=number(0),
        default=32,
        metavar="N",
        help="prompts of text (default: %(default)s)",
    )
    parser.add_argument(
        "--pictures",
        type=number(0),
        default=32,
        metavar="N",
        help="prompts with a picture (default: %(default)s)",
    )
    add_size_argument(parser, 336)
    parser.add_argument(
        "--max-tokens",
        type=number(1),
        default=32,
        metavar="N",
        help="tokens of each answer (default: %(default)s)",
    )
    add_seed_argument(parser)
    add_output_arguments(parser)
    add_flags(parser.add_argument_group("engine"), EngineConfig, skip=("model", "seed", "runner"))


def run(given: argparse.Namespace) -> int:
    batches = measure(given)
    cells = [cell for batch in batches for cell in batch.cells()]
    print_cells(given, cells, {"batches": [msgspec.to_builtins(batch) for batch in batches]})
    return 0


def measure(given: argparse.Namespace) -> list[Batch]:
    """Nothing is known to the engine but one request of each kind, so that its first steps do not
    count."""
    if not given.texts + given.pictures:
        raise ValueError("--texts and --pictures are both 0: there is nothing to measure.")
    from PIL import Image

    from ...python.llm import LLM

    options = msgspec.structs.asdict(build(EngineConfig, given))
    prompts = Prompts(None, 24, given.seed)

    def texts(count: int) -> list[Any]:
        return [[{"role": "user", "content": prompts.words()}] for _ in range(count)]

    def pictures(count: int, first: int) -> list[Any]:
        shown = [Image.open(BytesIO(picture_bytes(first + n, given.size))) for n in range(count)]
        return [
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_pil", "image_pil": one},
                        {"type": "text", "text": prompts.words()},
                    ],
                }
            ]
            for one in shown
        ]

    seed = given.seed * 1_000_000
    with LLM(**options) as llm:
        batches = []
        for what, warm, asked in (
            ("texts", texts(1), texts(given.texts)),
            (
                "pictures",
                pictures(min(1, given.pictures), seed),
                pictures(given.pictures, seed + 1),
            ),
        ):
            if asked:
                _answer(llm, warm, given.max_tokens, bar=False)
                batches.append(_timed(llm, what, asked, given.max_tokens))
    return batches


def _answer(llm: Any, conversations: list[Any], max_tokens: int, bar: bool) -> tuple[int, int]:
    """Tokens of the prompts, and of the answers."""
    from ....protocol.requests.sampling import SamplingParams

    params = SamplingParams(max_tokens=max_tokens, temperature=0.0, ignore_eos=True)
    outputs = llm.chat(conversations, params, use_tqdm=bar)
    return sum(len(output.prompt_token_ids) for output in outputs), sum(
        len(output.outputs[0].token_ids) for output in outputs
    )


def _timed(llm: Any, what: str, conversations: list[Any], max_tokens: int) -> Batch:
    begin = time.perf_counter()
    prompt_tokens, tokens = _answer(llm, conversations, max_tokens, bar=True)
    return Batch(
        what, len(conversations), prompt_tokens, tokens, round(time.perf_counter() - begin, 3)
    )
