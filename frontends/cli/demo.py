"""`thespis demo`: the bundled model is asked about bundled media; right or wrong, and how long."""

import argparse
import asyncio
import base64
import mimetypes
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...protocol.checkpoint.folder import demo_model
from ...protocol.config.engine import EngineConfig
from ...protocol.config.server import ServerConfig
from ...protocol.errors import EngineError
from .api import Api, Chunk, Stage
from .files import MOST_BYTES, read
from .flags import add_server
from .printing import printable, well_formed
from .server import serving

PARTS = {
    "image": "image_url",
    "video": "video_url",
    "audio": "audio_url",
    "document": "file",
}
"""What a person attaches, and its type of part."""
MOST_FILE = MOST_BYTES * 3 // 4
"""In base64 it is a third larger."""


class Example(msgspec.Struct, frozen=True):
    """One line of demo_model/media/examples.json."""

    kind: Literal["image", "video", "audio"]
    file: str
    question: str
    answer: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_server(parser)
    parser.epilog = "exit code: 0 when every answer is right, 1 when one is wrong"


def run(given: argparse.Namespace) -> int:
    examples = load_examples(demo_model() / "media")
    if given.base_url:
        return int(not asyncio.run(ask_all(given.base_url, examples, given.api_key)))
    print("starting the engine on the bundled model ...", flush=True)
    with serving(EngineConfig(), ServerConfig(port=0)) as running:
        return int(not asyncio.run(ask_all(running.url, examples)))


def load_examples(folder: Path) -> list[tuple[Example, Path]]:
    """Raises EngineError where they are not there."""
    try:
        examples = msgspec.json.decode((folder / "examples.json").read_bytes(), type=list[Example])
    except (OSError, msgspec.DecodeError):
        raise EngineError("The bundled model has no readable media/examples.json.") from None
    return [(example, folder / example.file) for example in examples]


async def ask_all(
    base_url: str, examples: Sequence[tuple[Example, Path]], api_key: str | None = None
) -> bool:
    """Ask one after the other and print; whether every answer was right."""
    right = 0
    async with Api(base_url, api_key) as api:
        model = await api.model()
        for example, path in examples:
            right += await _ask(api, model, example, path)
    print(f"\n{right} of {len(examples)} answers are right", flush=True)
    return right == len(examples)


async def _ask(api: Api, model: str, example: Example, path: Path) -> bool:
    print(f"\n{example.kind} {example.file}: {example.question}\n  ", end="", flush=True)
    content = [media_part(example.kind, path), {"type": "text", "text": example.question}]
    body = {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": 64,
        "return_timings": True,
    }
    begin = time.perf_counter()
    answer, last = "", Chunk()
    async for chunk in api.stream("/v1/chat/completions", body):
        for choice in chunk.choices:
            answer += choice.words
            print(printable(choice.words), end="", flush=True)
        last = chunk
    total = time.perf_counter() - begin
    right = answer.strip() == example.answer.strip()
    print(f"  [{'right' if right else f'wrong, expected: {example.answer}'}]")
    print(f"  {time_line(last.timings or [], total)}", flush=True)
    return right


def media_part(kind: str, path: Path) -> dict[str, Any]:
    """A file of this machine as a content part. Raises EngineError where it cannot be read."""
    data = base64.b64encode(read(path, MOST_FILE)).decode()
    if kind == "document":  # what it is, its content says
        url = f"data:application/octet-stream;base64,{data}"
        return {
            "type": PARTS[kind],
            PARTS[kind]: {"file_data": url, "filename": well_formed(path.name)},
        }
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return {"type": PARTS[kind], PARTS[kind]: {"url": f"data:{media_type};base64,{data}"}}


def time_line(stages: Sequence[Stage], total: float) -> str:
    """`queue 1 ms | fetch - | ...`: time of each stage, added up. A dash: it did not happen."""
    spent: dict[str, float] = {}
    for stage in stages:
        # Two stages are called decode: of media, which names what it decoded, and of tokens.
        name = stage.stage
        if name == "decode":
            name += " media" if stage.detail else " tokens"
        spent[name] = spent.get(name, 0.0) + stage.end - stage.start
    names = ("queue", "fetch", "decode media", "encode", "prefill", "decode tokens")
    shown = [
        f"{name} {spent[name] * 1000:.0f} ms" if name in spent else f"{name} -" for name in names
    ]
    return " | ".join([*shown, f"in all {total * 1000:.0f} ms"])
