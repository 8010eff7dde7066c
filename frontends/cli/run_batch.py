"""`thespis run-batch FILE`: the requests of one of OpenAI's batch files, answered without a server,
into a file. Run again, it goes on where it stopped."""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from aiohttp import web

from ...protocol.chat_templates.source import chat_template_of
from ...protocol.checkpoint.folder import inspect
from ...protocol.config.engine import EngineConfig
from ...protocol.config.roles import ClientConfig, HttpConfig
from ...protocol.config.server import ServerConfig
from ...protocol.errors import EngineError, RequestError
from ..client.client import Client
from ..engine import start_engine
from ..hub.locate import located
from ..openai.app import BATCHED, make_app
from ..openai.app_state import APP_STATE
from ..openai.batches.inner import ask
from ..openai.batches.journal import PIECE, Journal, lines_of
from ..openai.batches.lines import (
    MAX_LINE,
    NO_STREAM,
    ROW_START,
    Line,
    is_streamed,
    read_line,
    row,
    undone,
)
from ..openai.batches.places import Places
from ..python.progress import ProgressBar
from .flags import add_flags, build

MOST_BYTES = 64 << 20
"""Of requests that are in the engine at once."""
EPILOG = """\
Each line of FILE is {"custom_id": ..., "method": "POST", "url": "/v1/chat/completions", "body":
{...}}. Answers and errors come into the other file as they are ready, in any order, a line each.
What has a line there is not asked again, so after a Ctrl-C the same command goes on.

example: thespis run-batch requests.jsonl -o answers.jsonl --model ./Qwen2-VL
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "thespis run-batch FILE [-o FILE] [--model MODEL] [flags]"
    parser.add_argument("file", nargs="?", metavar="FILE", help="the requests, a line each")
    parser.add_argument(
        "-i", "--input-file", metavar="FILE", help="the same, as other engines have it"
    )
    parser.add_argument(
        "-o", "--output-file", metavar="FILE", help="the answers (default: FILE.answers.jsonl)"
    )
    words = "checkpoint folder, GGUF file, or ORG/NAME (default: the bundled model)"
    parser.add_argument("--model", default="", metavar="MODEL", help=words)
    add_flags(parser.add_argument_group("engine"), EngineConfig, skip=("model",))
    parser.epilog = EPILOG


def run(given: argparse.Namespace) -> int:
    source = given.file or given.input_file
    if source is None or (given.file and given.input_file):
        raise EngineError("Name one file of requests: thespis run-batch FILE")
    target = Path(given.output_file or f"{source}.answers.jsonl")
    total = _check(source)
    _check_target(target)
    engine = located(build(EngineConfig, given))
    try:
        journal = Journal(target)
    except OSError as error:
        raise EngineError(f"{str(target)!r} cannot be written: {error.strerror}.") from None
    try:
        with start_engine(engine) as handle:
            wrong = asyncio.run(_answer(source, total, journal, handle.run_dir, engine))
    except KeyboardInterrupt:
        print(
            f"stopped at {len(journal.ids)} of {total}; the same command goes on", file=sys.stderr
        )
        return 130
    finally:
        journal.close()
    print(f"{total} requests, {wrong} of them not answered: {target}")
    return 0


def _read(source: str) -> Iterator[tuple[int, Line]]:
    """Raises EngineError that names the line."""
    try:
        with open(source, "rb", PIECE) as file:
            for number, data in lines_of(file):
                if data is None:
                    text = f"it has more than {MAX_LINE >> 20} MiB"
                    raise EngineError(f"{source!r}, line {number}: {text}.")
                try:
                    yield number, read_line(data, None)
                except RequestError as error:
                    raise EngineError(f"{source!r}, line {number}: {error}") from None
    except RequestError as error:
        raise EngineError(f"{source!r}: {error}") from None
    except OSError as error:
        raise EngineError(f"{source!r} cannot be read: {error.strerror}.") from None


def _check(source: str) -> int:
    """How many requests there are. Before an engine starts, everything is looked at."""
    known: set[str] = set()
    for number, line in _read(source):
        where = f"{source!r}, line {number}"
        if line.url not in BATCHED:
            raise EngineError(f"{where}: `url` is one of {', '.join(BATCHED)}.")
        if line.custom_id in known:
            raise EngineError(f"{where}: this `custom_id` comes twice.")
        known.add(line.custom_id)
    if not known:
        raise EngineError(f"{source!r} has no requests.")
    return len(known)


def _check_target(target: Path) -> None:
    """What is no file of answers is somebody's: nothing is written into it."""
    try:
        with open(target, "rb") as file:
            head = file.read(len(ROW_START))
    except FileNotFoundError:
        return
    except OSError as error:
        raise EngineError(f"{str(target)!r} cannot be read: {error.strerror}.") from None
    if not ROW_START.startswith(head):
        text = "has no answers of a run before: name another file by -o, or remove it"
        raise EngineError(f"{str(target)!r} {text}.")


async def _answer(
    source: str, total: int, journal: Journal, run_dir: Path, engine: EngineConfig
) -> int:
    """How many could not be answered this time."""
    client = await Client.connect(run_dir)
    app = make_app(client, _config(client, engine))
    places = Places(min(engine.max_num_seqs, client.admission.share.requests), MOST_BYTES)
    wrong = 0

    async def one(line: Line, size: int) -> None:
        nonlocal wrong
        try:
            fine = await _one(app, line, journal, bar)
        finally:
            places.give(size)
        wrong += not fine

    try:
        with ProgressBar(total, shown=True) as bar:
            async with asyncio.TaskGroup() as tasks:
                for _, line in _read(source):
                    if line.custom_id in journal.ids:
                        bar.add(0)
                        continue
                    await places.take(len(line.body))
                    tasks.create_task(one(line, len(line.body)))
    finally:
        await app[APP_STATE].close(app)
        await client.close()
    return wrong


async def _one(app: web.Application, line: Line, journal: Journal, bar: ProgressBar) -> bool:
    body, tokens, fine = bytes(line.body).strip(), 0, False
    if is_streamed(body):
        written = undone(line.custom_id, NO_STREAM)
    else:
        answer = await ask(app, BATCHED[line.url], line.url, "", body)
        written = row(line.custom_id, answer.status, answer.body, answer.id)
        tokens, fine = answer.told.output_tokens, answer.status == 200
    await asyncio.to_thread(journal.add, written, line.custom_id)
    bar.add(tokens)
    return fine


def _config(client: Client, engine: EngineConfig) -> HttpConfig:
    """As that of a server of this engine."""
    template = chat_template_of(inspect(engine.model), engine.chat_template)
    return HttpConfig(
        client=ClientConfig(
            model=client.model,
            name=client.model_name,
            max_model_len=client.max_model_len,
            seed=engine.seed,
        ),
        dtype=client.model.dtype,
        server=ServerConfig(max_stored_gb=0.0, playground=False),
        engine=msgspec.structs.replace(engine, chat_template=template),
    )
