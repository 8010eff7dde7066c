"""How often a model with its weights in few bits says what it says in float32: `scripts/dev
agreement [MODEL]`

Teacher forced: both are given the same tokens and asked at each place which comes next. The texts
are paragraphs of the project's own pages; the bundled model is also asked about pictures, clips and
sounds that no training has drawn, with float32's own answers to be forced along, and how many of
its answers are the same when it speaks freely.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from thespis import LLM, RequestOutput, SamplingParams
from thespis.scripts.demo_training.check import content_parts
from thespis.scripts.demo_training.evaluation import fresh_samples
from thespis.scripts.demo_training.words import KINDS

PAGES = Path(__file__).parent.parent / "docs"
SHORTEST, LONGEST = 200, 1200
"""Characters of a paragraph that is asked about."""
SEED = 505
FORCED = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=1)
FREE = SamplingParams(temperature=0, max_tokens=40)


class Said(NamedTuple):
    """What one engine said."""

    answers: list[RequestOutput]
    texts: list[RequestOutput]
    forced: list[RequestOutput]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/dev agreement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", nargs="?", default="", help="folder of a checkpoint; default: the bundled model"
    )
    parser.add_argument(
        "--quantization", default="int8", help="of the second engine (default: %(default)s)"
    )
    parser.add_argument(
        "--samples", type=int, default=40, help="questions of each kind, for the bundled model"
    )
    parser.add_argument("--texts", type=int, default=60, help="paragraphs")
    given = parser.parse_args()
    questions: list[Any] = []
    if not given.model:
        samples = [sample for kind in KINDS for sample in fresh_samples(kind, SEED, given.samples)]
        questions = [[{"role": "user", "content": content_parts(sample)}] for sample in samples]
    texts = list(paragraphs())[: given.texts]
    plain = _ask(questions, texts, None, model=given.model, dtype="float32")
    held = _ask(
        questions,
        texts,
        plain.answers,
        model=given.model,
        dtype="float32",
        quantization=given.quantization,
    )
    found: dict[str, Any] = {"texts": _agreement(plain.texts, held.texts)}
    if questions:
        same = [
            one.outputs[0].text == two.outputs[0].text
            for one, two in zip(plain.answers, held.answers, strict=True)
        ]
        found["answers_alike"] = {"of": len(same), "share": round(sum(same) / len(same), 4)}
        found["conversations"] = _agreement(plain.forced, held.forced)
        lengths = [len(answer.outputs[0].token_ids) for answer in plain.answers]
        found["their_answers"] = _agreement(plain.forced, held.forced, lengths)
    json.dump(found, sys.stdout, indent=2)
    print()


def paragraphs() -> Iterator[str]:
    """Of the project's pages, without tables and code."""
    for page in sorted(PAGES.glob("*.md")):
        for part in re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL).split("\n\n"):
            text = " ".join(part.split())
            if SHORTEST <= len(text) <= LONGEST and not text.startswith(("|", "#")):
                yield text


def _ask(
    questions: list[Any], texts: list[str], forced: list[RequestOutput] | None, **options: Any
) -> Said:
    """`forced`: answers to go along with; None: its own."""
    with LLM(device="cpu", **options) as llm:
        answers = llm.chat(questions, FREE, use_tqdm=False) if questions else []
        along = [
            [*question, {"role": "assistant", "content": answer.outputs[0].text}]
            for question, answer in zip(questions, forced or answers, strict=True)
        ]
        again = (
            llm.chat(along, FORCED, use_tqdm=False, add_generation_prompt=False) if along else []
        )
        return Said(answers, llm.generate(texts, FORCED, use_tqdm=False), again)


def _agreement(
    plain: list[RequestOutput], held: list[RequestOutput], lasts: list[int] | None = None
) -> dict[str, Any]:
    """At how many places the likeliest next token is the same. `lasts`: of each only the last so
    many."""
    same = [
        best_of(one) == best_of(two)
        for index, (first, second) in enumerate(zip(plain, held, strict=True))
        for one, two in list(
            zip(first.prompt_logprobs or (), second.prompt_logprobs or (), strict=True)
        )[1 if lasts is None else -lasts[index] :]
    ]
    return {"places": len(same), "share": round(sum(same) / max(1, len(same)), 4)}


def best_of(place: Any) -> int:
    """The likeliest token."""
    return next(int(token) for token, entry in place.items() if entry.rank == 1)


if __name__ == "__main__":
    main()
