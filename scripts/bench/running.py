"""What many running requests cost beside their model: `scripts/dev bench running [MODEL]`

A server with so many streams at once over HTTP (`thespis bench serve` as the client). From the
moment that all of them are running, for some seconds, the CPU time of every process is taken from
/proc: per step, per token, and all of it but the runner's steps as a share of a step's time.
"""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from thespis.frontends.cli.bench.apart import command
from thespis.frontends.cli.server import serving
from thespis.frontends.client.client import Client
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.server import ServerConfig

from . import parser_of
from .model import model_or_random

RUNNER = "gpu-runner"
PERIOD = 0.5
"""Seconds between two looks; each asks every process for its counters."""
PATIENCE = 1200.0
"""Seconds until all streams run and have been measured: they join beside those that speak, in steps
that are bounded."""


class Look(NamedTuple):
    """What was known at one moment."""

    at: float
    cpu: dict[str, float]
    """Seconds of CPU by role; of the runner without its steps."""
    stats: dict[str, dict[str, float]]


def main() -> None:
    parser = parser_of("running", __doc__, model=True)
    parser.add_argument("--streams", type=int, default=256)
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="that are measured, unless a stream ends before"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=512, help="of each stream (default: %(default)s)"
    )
    parser.add_argument("--prompt-tokens", type=int, default=4)
    parser.add_argument("--max-model-len", type=int, default=1024)
    given = parser.parse_args()
    with model_or_random(given.model) as model:
        engine = EngineConfig(
            model=model, device="cpu", max_num_seqs=given.streams, max_model_len=given.max_model_len
        )
        with serving(engine, ServerConfig(port=0)) as server:
            words = command(
                server.url,
                given.streams,
                requests=given.streams,
                max_tokens=given.max_tokens,
                prompt_tokens=given.prompt_tokens,
            )
            with subprocess.Popen(words, stdout=subprocess.DEVNULL) as load:
                try:
                    first, last = asyncio.run(window(server.run_dir, given.streams, given.seconds))
                finally:
                    load.terminate()
    json.dump(report(given.streams, first, last), sys.stdout, indent=2)
    print()


async def window(run_dir: Path, streams: int, seconds: float) -> tuple[Look, Look]:
    """Two looks at an engine with so many running, about so many `seconds` apart. Raises
    TimeoutError."""
    looks: list[Look] = []
    async with await Client.connect(run_dir) as client, asyncio.timeout(PATIENCE):
        while True:
            status = await client.status()
            stats, running = status.stats, status.stats["scheduler"]["running"]
            if running == streams:
                cpu = {role: cpu_seconds(pid) for role, pid in status.pids.items()}
                looks.append(
                    Look(
                        time.perf_counter(),
                        cpu | {RUNNER: stats[RUNNER]["beside_steps_cpu_seconds"]},
                        stats,
                    )
                )
            if len(looks) > 1 and (running < streams or looks[-1].at - looks[0].at >= seconds):
                return looks[0], looks[-1]
            await asyncio.sleep(PERIOD)


def cpu_seconds(pid: int) -> float:
    """Of all threads that a process has now."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def report(streams: int, first: Look, last: Look) -> dict[str, Any]:
    """Milliseconds, but for the share and microseconds per token."""

    def grown(role: str, counter: str) -> float:
        return last.stats[role][counter] - first.stats[role][counter]

    steps, tokens = grown("scheduler", "steps"), grown("scheduler", "generated_tokens")
    computed = grown(
        RUNNER, "steps"
    )  # fewer, where a step was long and its counters are those of the one before
    cpu = {role: last.cpu[role] - first.cpu.get(role, 0.0) for role in last.cpu}
    per_step = {
        role: seconds / (computed if role == RUNNER else steps) * 1000
        for role, seconds in cpu.items()
    }
    step, beside = (last.at - first.at) / steps * 1000, sum(per_step.values())
    return {
        "streams": streams,
        "steps": steps,
        "tokens_per_second": round(tokens / (last.at - first.at)),
        "step_ms": round(step, 3),
        "in_the_runner_ms": round(grown(RUNNER, "step_seconds") / computed * 1000, 3),
        "cpu_beside_the_runner_s_steps_ms": {
            role: round(ms, 3) for role, ms in sorted(per_step.items()) if ms >= 0.001
        },
        "all_of_it_ms": round(beside, 3),
        "us_per_token": round(beside / (tokens / steps) * 1000, 1),
        "share_of_a_step": round(beside / step, 4),
    }


if __name__ == "__main__":
    main()
