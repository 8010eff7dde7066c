"""How long one decode step takes, without any other process: `scripts/dev bench runner [MODEL]`

Drives the runner directly. Milliseconds per step at several numbers of sequences and contexts; the
least and the median over the steps, since other load on the machine only ever adds.
"""

import json
import statistics
import sys
import time
from typing import Any

from thespis.frontends.cli.bench.bare import BareRunner
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.requests.sampling import SamplingParams

from . import parser_of
from .model import model_or_random

SEQUENCES = (1, 8, 32)
CONTEXTS = (64, 512)


def main() -> None:
    parser = parser_of("runner", __doc__, model=True)
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
    sampling = SamplingParams(temperature=arguments.temperature, seed=1)
    with model_or_random(arguments.model) as model:
        engine = EngineConfig(
            model=model,
            device=arguments.device,
            runner_threads=arguments.threads,
            quantization=arguments.quantization,
        )
        began = time.perf_counter()
        runner = BareRunner(engine, fused=not arguments.plain)
        load = time.perf_counter() - began
        rows = [
            measure_decode(runner, count, context, arguments.steps, sampling)
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
    runner: BareRunner, count: int, context: int, steps: int, sampling: SamplingParams
) -> dict[str, Any]:
    """`count` sequences with about `context` tokens each: it grows by `steps` meanwhile."""
    prompt = context - steps // 2
    taken = list(runner.decode_steps(count, prompt, steps, context + steps, sampling))
    return {
        "sequences": count,
        "context": context,
        "ms_min": round(min(taken) * 1000, 3),
        "ms_median": round(statistics.median(taken) * 1000, 3),
    }


if __name__ == "__main__":
    main()
