"""`thespis run-batch FILE`: the requests of one of OpenAI's batch files, answered without a server,
into a file. Run again, it goes on where it stopped."""

import argparse
import asyncio
import sys
from pathlib import Path

from ...protocol.config.engine import EngineConfig
from ...protocol.errors import EngineError
from ..engine import start_engine
from ..hub.locate import located
from ..openai.app import BATCHED
from ..openai.batches.journal import Journal
from ..openai.batches.lines import Line
from ..openai.batches.source import checked_source, open_answers, read_source
from ..openai.within import Within
from ..python.progress import ProgressBar
from ..ray.batches.batch import PARQUET, BatchPlan, positive, run_file
from ..ray.batches.cluster import LOCAL
from ..ray.installed import check_installed
from .flags import add_flags, build, number

EPILOG = """\
Each line of FILE is {"custom_id": ..., "method": "POST", "url": "/v1/chat/completions", "body":
{...}}. Answers and errors come into the other file as they are ready, in any order, a line each.
What has a line there is not asked again, so after a Ctrl-C the same command goes on.

With --ray, engines on several machines or devices answer; what -o names NAME.parquet is a folder
of Parquet files.

example: thespis run-batch requests.jsonl -o answers.jsonl --model ./Qwen2-VL
example: thespis run-batch requests.jsonl -o answers.parquet --ray --replicas 2
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
    _add_ray(parser.add_argument_group("many engines, by Ray"))
    words = "checkpoint folder, GGUF file, or ORG/NAME (default: the bundled model)"
    parser.add_argument("--model", default="", metavar="MODEL", help=words)
    add_flags(parser.add_argument_group("engine"), EngineConfig, skip=("model",))
    parser.epilog = EPILOG


def _add_ray(parser: argparse._ArgumentGroup) -> None:
    words = (
        "answer by replicas of the engine; ADDRESS: of a cluster that sees FILE at the same path"
    )
    parser.add_argument("--ray", nargs="?", const=LOCAL, metavar="ADDRESS", help=words)
    parser.add_argument("--replicas", type=number(int), metavar="N", help="engines (default: 1)")
    words = "that Ray reserves for a replica, and the threads of its engine (default: a fair part)"
    parser.add_argument("--cpus-per-replica", type=number(float), metavar="X", help=words)
    words = "that Ray gives to a replica (default: 0)"
    parser.add_argument("--gpus-per-replica", type=number(float), metavar="X", help=words)


def _refuse_what_needs_ray(target: Path, given: argparse.Namespace) -> None:
    for name in ("replicas", "cpus_per_replica", "gpus_per_replica"):
        if getattr(given, name) is not None:
            raise EngineError(f"--{name.replace('_', '-')} goes with --ray.")
    if target.suffix == PARQUET:
        raise EngineError(f"Answers as Parquet ({str(target)!r}) go with --ray.")


def _run_by_ray(source: str, target: Path, given: argparse.Namespace) -> int:
    check_installed("--ray")
    plan = BatchPlan(
        engine=build(EngineConfig, given),
        replicas=positive("--replicas", 1 if given.replicas is None else given.replicas),
        cpus=given.cpus_per_replica,
        gpus=given.gpus_per_replica or 0.0,
    )
    try:
        ended = run_file(source, target, plan, given.ray, use_tqdm=True)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    print(
        f"{ended.answers} requests, {ended.answered} of them answered now, "
        f"{ended.failed} of these with errors: {target}"
    )
    return 0


def run(given: argparse.Namespace) -> int:
    source = given.file or given.input_file
    if source is None or (given.file and given.input_file):
        raise EngineError("Name one file of requests: thespis run-batch FILE")
    target = Path(given.output_file or f"{source}.answers.jsonl")
    if given.ray is not None:
        return _run_by_ray(source, target, given)
    _refuse_what_needs_ray(target, given)
    total = sum(1 for _ in checked_source(source, BATCHED))  # before an engine starts
    engine = located(build(EngineConfig, given))
    journal = open_answers(target)
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
    print(f"{total} {'request' if total == 1 else 'requests'}, {wrong} not answered: {target}")
    return 0


async def _answer(
    source: str, total: int, journal: Journal, run_dir: Path, engine: EngineConfig
) -> int:
    """How many could not be answered this time."""
    within = await Within.connect(run_dir, engine)
    wrong = 0

    async def one(line: Line) -> None:
        nonlocal wrong
        try:
            answer = await within.answer(line)
            await asyncio.to_thread(journal.add, answer.written, line.custom_id)
        finally:
            within.places.give(len(line.body))
        bar.add(answer.tokens)
        wrong += answer.status != 200

    try:
        with ProgressBar(total, shown=True) as bar:
            async with asyncio.TaskGroup() as tasks:
                for line, _, _ in read_source(source):
                    if line.custom_id in journal.ids:
                        bar.add(0)
                        continue
                    await within.places.take(len(line.body))
                    tasks.create_task(one(line))
    finally:
        await within.close()
    return wrong
