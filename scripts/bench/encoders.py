"""Pictures by several encoders against one: `scripts/dev bench encoders [MODEL]`

For every number of encoders an engine, all of them up at once; in each round they answer the same
new pictures, one engine after the other, with a few tokens each. Told are pictures per second by
the best round, what each is to the first, the CPU time of those that encode, how many pictures the
encoder-cache left to others, and whether all answers were the same.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from thespis import LLM, SamplingParams
from thespis.frontends.cli.bench.asking import picture_bytes
from thespis.protocol.topology import ENCODE_WORKER, ENCODER_CACHE, kind_of
from thespis.scripts.make_random_checkpoint import make_checkpoint

from . import parser_of
from .running import cpu_seconds

QUESTION = {"type": "text", "text": "What is that?"}
LARGEST = 1 << 20
"""Pixels of a picture that the random model sees as it is."""


class Round(NamedTuple):
    seconds: float
    cpu: float
    """Of all that encode."""
    elsewhere: float
    """Pictures that workers have encoded."""
    answers: list[tuple[int, ...]]


def main() -> None:
    parser = parser_of("encoders", __doc__, model=True)
    parser.add_argument("--encoders", default="1,2", help="numbers of them (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=32, help="of a round")
    parser.add_argument("--size", type=int, default=336, help="pixels of a side")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=4)
    given = parser.parse_args()
    numbers = [int(number) for number in given.encoders.split(",")]
    params = SamplingParams(temperature=0.0, max_tokens=given.max_tokens, ignore_eos=True)
    rounds: dict[int, list[Round]] = {number: [] for number in numbers}
    with ExitStack() as stack:
        model = stack.enter_context(model_that_sees(given.model))
        engines = {
            number: stack.enter_context(
                LLM(model, device="cpu", dtype="float32", max_model_len=1024, encoders=number)
            )
            for number in numbers
        }
        for llm in engines.values():
            answered(llm, pictures(1, 0, given.size), params)
        for turn in range(given.rounds):
            shown = pictures(given.pictures, 1 + turn * given.pictures, given.size)
            for number, llm in engines.items():
                rounds[number].append(answered(llm, shown, params))
    json.dump(report(rounds, given.pictures), sys.stdout, indent=2)
    print()


@contextmanager
def model_that_sees(model: str | None) -> Iterator[str]:
    """`model`, or a random one that does little but see."""
    if model:
        yield model
        return
    with tempfile.TemporaryDirectory() as name:
        folder = make_checkpoint("qwen_vl", Path(name), shape="eye")
        file = folder / "preprocessor_config.json"
        settings = json.loads(file.read_text())
        settings["size"]["longest_edge"] = LARGEST
        file.write_text(json.dumps(settings))
        yield name


def pictures(count: int, first: int, size: int) -> list[Any]:
    shown = [Image.open(BytesIO(picture_bytes(first + n, size))) for n in range(count)]
    return [
        [{"role": "user", "content": [{"type": "image_pil", "image_pil": one}, QUESTION]}]
        for one in shown
    ]


def answered(llm: LLM, conversations: list[Any], params: SamplingParams) -> Round:
    before, began = look(llm), time.perf_counter()
    outputs = llm.chat(conversations, params, use_tqdm=False)
    seconds, after = time.perf_counter() - began, look(llm)
    answers = [tuple(output.outputs[0].token_ids) for output in outputs]
    return Round(seconds, after[0] - before[0], after[1] - before[1], answers)


def look(llm: LLM) -> tuple[float, float]:
    """Seconds of CPU of those that encode, and what workers have encoded."""
    status = llm.status()
    encoding = {
        role: pid
        for role, pid in status.pids.items()
        if kind_of(role) in (ENCODER_CACHE, ENCODE_WORKER)
    }
    made = [status.stats[role]["encoded_items"] for role in encoding if role != ENCODER_CACHE]
    return sum(map(cpu_seconds, encoding.values())), sum(made)


def report(rounds: dict[int, list[Round]], count: int) -> dict[str, Any]:
    first = next(iter(rounds.values()))
    plain = min(one.seconds for one in first)
    told: dict[str, Any] = {}
    for number, own in rounds.items():
        best = min(one.seconds for one in own)
        told[str(number)] = {
            "pictures_per_second": round(count / best, 2),
            "of_each_round": [round(count / one.seconds, 2) for one in own],
            "times_the_first": round(plain / best, 3),
            "cpu_ms_a_picture": round(1000 * statistics.median(one.cpu for one in own) / count, 1),
            "encoded_by_workers": round(statistics.mean(one.elsewhere for one in own), 1),
            "same_answers": [one.answers for one in own] == [one.answers for one in first],
        }
    return told


if __name__ == "__main__":
    main()
