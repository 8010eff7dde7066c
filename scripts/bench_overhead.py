"""What the engine adds to its model: `python scripts/bench_overhead.py > figures.json`

In turn, several rounds: a bare decode loop over the runner in this process, one stream through
HTTP, 32 streams through HTTP (`thespis bench serve` as the client); a random checkpoint of shape S,
prompts of 32 tokens, 128 new. Read the ratios: other load on the machine moves all figures of a
round together.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from thespis.frontends.cli.server import serving
from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.runner.runner import Runner
from thespis.protocol.config.division import divide
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.roles import RunnerConfig
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.edges.scheduler_to_gpu_runner import NewSequence, StepPlan, Work
from thespis.protocol.memory.blobs import BlobError, BlobRef
from thespis.protocol.requests.sampling import SamplingParams
from thespis.scripts.make_random_checkpoint import make_bench_checkpoint

PROMPT, NEW, MANY = 32, 128, 32
"""Tokens, tokens, streams."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = EngineConfig(
            model=str(make_bench_checkpoint(Path(folder))),
            device=arguments.device,
            runner_threads=1,
        )
        config = divide(engine, model_facts(engine.model)).roles["gpu-runner"]
        assert isinstance(config, RunnerConfig)
        with serving(engine, ServerConfig(port=0)) as server:
            bare(Runner(config))  # the first run pays for what is made once
            ask(server.url, 1)
            runner = Runner(config)
            rounds = [one_round(runner, server.url) for _ in range(arguments.rounds)]
    json.dump(summary(rounds), sys.stdout, indent=2)
    print()


def one_round(runner: Runner, url: str) -> dict[str, float]:
    """Milliseconds between tokens and tokens per second."""
    loop, mean = bare(runner)
    single, many = ask(url, 1), ask(url, MANY)
    return {
        "bare_itl_ms": loop,
        "http_itl_ms": single["itl_ms_p50"],
        "http_over_bare": single["itl_ms_p50"] / loop,
        "bare_itl_mean_ms": mean,
        "http_itl_mean_ms": single["itl_ms_mean"],
        "http_over_bare_mean": single["itl_ms_mean"] / mean,
        "tokens_per_second_1": single["tokens_per_second"],
        f"tokens_per_second_{MANY}": many["tokens_per_second"],
        "speedup": many["tokens_per_second"] / single["tokens_per_second"],
    }


def bare(runner: Runner) -> tuple[float, float]:
    """The median and the mean step of a decode loop over one sequence, in milliseconds."""
    runner.reset()
    blocks = tuple(range(1, -(-(PROMPT + NEW) // 16) + 2))
    prompt = tuple(i * 7 % 256 for i in range(PROMPT))
    sequence = NewSequence(
        0, prompt, PROMPT, None, 0, SamplingParams(temperature=0.0, seed=0), 0, (), (blocks,)
    )
    runner.execute(StepPlan(0, (sequence,), (Work(0, 0, PROMPT, True),), (), ()), no_blobs)
    taken: list[float] = []
    for step in range(NEW - 1):
        plan = StepPlan(step + 1, (), (Work(0, PROMPT + step, 1, True),), (), ())
        began = time.perf_counter()
        runner.execute(plan, no_blobs)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken), statistics.fmean(taken)


def ask(url: str, streams: int) -> dict[str, Any]:
    """One row of `thespis bench serve`."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "thespis",
        "bench",
        "serve",
        "--base-url",
        f"{url}/v1",
        "--streams",
        str(streams),
    ]
    command += ["--json", "--prompt-tokens", str(PROMPT), "--max-tokens", str(NEW)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    row: dict[str, Any] = json.loads(done.stdout)[0]
    return row


def summary(rounds: list[dict[str, float]]) -> dict[str, Any]:
    median = {name: round(statistics.median(r[name] for r in rounds), 3) for name in rounds[0]}
    return {
        "median": median,
        "rounds": [{name: round(value, 3) for name, value in r.items()} for r in rounds],
    }


def no_blobs(ref: BlobRef) -> memoryview:
    raise BlobError("no blobs in this measurement")


if __name__ == "__main__":
    main()
