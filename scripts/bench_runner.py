"""How long one decode step takes, without any other process: `python scripts/bench_runner.py
[MODEL] > figures.json`

Drives the runner directly. Milliseconds per step at several numbers of sequences and contexts; the
least and the median over the steps, since other load on the machine only ever adds. Without MODEL a
random checkpoint of shape S is made.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.runner.runner import Runner
from thespis.protocol.config.division import divide
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.roles import RunnerConfig
from thespis.protocol.edges.scheduler_to_gpu_runner import NewSequence, StepPlan, Work
from thespis.protocol.memory.blobs import BlobError, BlobRef
from thespis.protocol.requests.sampling import SamplingParams
from thespis.scripts.make_random_checkpoint import make_bench_checkpoint

SEQUENCES = (1, 8, 32)
CONTEXTS = (64, 512)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "model", nargs="?", help="folder of a checkpoint; default: a random one of shape S"
    )
    parser.add_argument("--steps", type=int, default=60, help="decode steps per figure")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument(
        "--plain",
        action="store_true",
        help="transformers' own modules instead of the fused decoder",
    )
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--contexts", type=int, nargs="+", default=CONTEXTS, metavar="TOKENS")
    parser.add_argument("--sequences", type=int, nargs="+", default=SEQUENCES, metavar="COUNT")
    parser.add_argument(
        "--quantization", choices=["int8"], help="how the weights are held (default: as they are)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or str(make_bench_checkpoint(Path(folder)))
        info = model_facts(model)
        engine = EngineConfig(
            model=model,
            device=arguments.device,
            runner_threads=arguments.threads,
            quantization=arguments.quantization,
        )
        config = divide(engine, info).roles["gpu-runner"]
        assert isinstance(config, RunnerConfig)
        began = time.perf_counter()
        runner = Runner(config, fused=not arguments.plain)
        load = time.perf_counter() - began
        sampling = SamplingParams(temperature=arguments.temperature, seed=1)
        rows = [
            measure_decode(runner, config, count, context, arguments.steps, sampling)
            for context in arguments.contexts
            for count in arguments.sequences
        ]
    json.dump(
        {
            "load_seconds": round(load, 3),
            "device": arguments.device,
            "threads": arguments.threads,
            "steps": rows,
        },
        sys.stdout,
        indent=2,
    )
    print()


def measure_decode(
    runner: Runner,
    config: RunnerConfig,
    count: int,
    context: int,
    steps: int,
    sampling: SamplingParams,
) -> dict[str, Any]:
    """`count` sequences with about `context` tokens each."""
    runner.reset()
    prompt = context - steps // 2  # the context grows by `steps` while we measure
    for seq in range(count):
        _begin(runner, config, seq, prompt, context + steps, sampling)
    taken: list[float] = []
    for step in range(steps):
        plan = StepPlan(
            step + 1, (), tuple(Work(seq, prompt + step, 1, True) for seq in range(count)), (), ()
        )
        began = time.perf_counter()
        result = runner.execute(plan, _no_blobs)
        taken.append((time.perf_counter() - began) * 1000)
        assert len(result.sampled) == count
    return {
        "sequences": count,
        "context": context,
        "ms_min": round(min(taken), 3),
        "ms_median": round(statistics.median(taken), 3),
    }


def measure_prompt(runner: Runner, config: RunnerConfig, tokens: int, rounds: int) -> float:
    """The median of the seconds that a prompt of so many tokens takes, with the first token of its
    answer."""
    taken: list[float] = []
    for _ in range(1 + rounds):
        runner.reset()
        began = time.perf_counter()
        _begin(runner, config, 0, tokens, tokens, SamplingParams(temperature=0.0, seed=1))
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def _begin(
    runner: Runner,
    config: RunnerConfig,
    seq: int,
    prompt: int,
    longest: int,
    sampling: SamplingParams,
) -> None:
    """Compute the prompt of a sequence that will have `longest` tokens, in steps as large as the
    engine's."""
    per = -(-longest // config.block_size) + 1
    blocks = (tuple(range(1 + seq * per, 1 + (seq + 1) * per)),) * len(runner.room.blocks)
    ids = tuple((seq * 31 + i * 7) % 256 for i in range(prompt))
    new = (NewSequence(seq, ids, prompt, None, 0, sampling, 0, (), blocks),)
    for start in range(0, prompt, config.max_batched_tokens):
        count = min(config.max_batched_tokens, prompt - start)
        plan = StepPlan(
            0,
            new if start == 0 else (),
            (Work(seq, start, count, start + count == prompt),),
            (),
            (),
        )
        result = runner.execute(plan, _no_blobs)
        assert not result.faults, result.faults


def _no_blobs(ref: BlobRef) -> memoryview:
    raise BlobError("no blobs in this measurement")


if __name__ == "__main__":
    main()
