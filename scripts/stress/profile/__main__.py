"""What the ledger, fencing and heartbeats cost while nothing dies: `scripts/dev profile`

An engine on a random checkpoint of shape S, 32 text streams through HTTP, every process under a
sampling profiler of its own CPU time. Prints microseconds per token by process and the share that
exists only so that no request is lost; the exit code is 1 above 3 %.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from thespis.actors.director.config import FORKED, MODULES, Cast
from thespis.frontends.cli.bench.apart import ask
from thespis.frontends.cli.server import bind
from thespis.frontends.client.client import Client
from thespis.frontends.engine import start_engine
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.server import ServerConfig
from thespis.protocol.topology import HTTP
from thespis.scripts.bench.model import model_or_random

from .sampled import FOLDER

LIMIT = 0.03
STREAMS, PROMPT, NEW = 32, 32, 128
"""And tokens of each stream."""


class Row(NamedTuple):
    role: str
    cpu: float
    """Seconds."""
    samples: int
    surviving: float
    """Seconds of `cpu` for the ledger, fencing and heartbeats."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/dev profile", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=5, help="of 64 requests of 128 tokens (default: %(default)s)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, model_or_random(None) as model:
        os.environ[FOLDER] = folder
        tokens = run(model, Path(folder), arguments.rounds)
        rows = [read(file) for file in sorted(Path(folder).glob("*.json"))]
    whole = Row("all", *(sum(part) for part in zip(*(row[1:] for row in rows), strict=True)))
    print(f"{'process':20s} {'us/token':>9s} {'samples':>9s} {'of it for survival':>19s}")
    for row in (*rows, whole):
        share = f"{row.surviving / row.cpu:.1%}" if row.cpu else "-"
        print(f"{row.role:20s} {row.cpu / tokens * 1e6:9.1f} {row.samples:9d} {share:>19s}")
    print(f"{tokens:.0f} tokens; the limit is {LIMIT:.0%}")
    return 0 if whole.surviving <= LIMIT * whole.cpu else 1


def run(model: str, folder: Path, rounds: int) -> float:
    """Load a profiled engine; returns the tokens that it made. The profiles lie in `folder` when it
    has ended."""
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        engine = start_engine(
            EngineConfig(model=model, device="cpu", runner_threads=1),
            ServerConfig(port=port, listen_fd=listener.fileno()),
            cast=Cast(
                modules=dict.fromkeys((*MODULES, HTTP), "thespis.scripts.stress.profile.sampled"),
                forked=FORKED,
                preload=("torch", "transformers"),
            ),
        )
    url = f"http://127.0.0.1:{port}"
    try:
        ask(url, STREAMS, PROMPT, NEW)
        before = asyncio.run(toggle(engine.run_dir))
        for _ in range(rounds):
            ask(url, STREAMS, PROMPT, NEW)
        return asyncio.run(toggle(engine.run_dir, folder)) - before
    finally:
        engine.terminate()


async def toggle(run_dir: Path, reports: Path | None = None) -> float:
    """Start the profilers, or end them and wait for their `reports`; the tokens that were made by
    then."""
    async with await Client.connect(run_dir) as client:
        status = await client.status()
    pids = {role: pid for role, pid in status.pids.items() if role not in ("director", "zygote")}
    for pid in pids.values():
        os.kill(pid, signal.SIGUSR2)
    async with asyncio.timeout(10):
        while reports is not None and not all((reports / f"{role}.json").exists() for role in pids):
            await asyncio.sleep(0.05)
    return status.stats["gpu-runner"]["sampled"]


def read(file: Path) -> Row:
    report = json.loads(file.read_text())
    return Row(file.stem, report["cpu"], report["samples"], report["surviving"])


if __name__ == "__main__":
    sys.exit(main())
