"""`thespis bench start`: how long `thespis serve` takes to answer /health, and how much memory all
its processes hold."""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ....actors.director.threads import children_of
from ....protocol.errors import EngineError
from ..flags import add_model
from .asking import add_output_arguments
from .numbers import number
from .report import Cell, print_cells, progress

LINE = "the start of `thespis serve`: seconds to /health, and the memory of all its processes"
LIMIT_SECONDS = 120.0
PROBE_SECONDS = 0.02
"""Between two looks at /health."""


class Start(NamedTuple):
    seconds: float
    """From the command to the first 200 of /health."""
    pss_mb: float
    """Proportional set size of all processes together: a page shared by five counts a fifth to
    each."""
    processes: dict[str, float]
    """PSS in MB by title."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--rounds",
        type=number(1),
        default=3,
        metavar="N",
        help="of which the medians are shown (default: %(default)s)",
    )
    parser.add_argument(
        "--flag",
        action="append",
        default=[],
        metavar="FLAG",
        help="of `serve`, as --flag=--dtype=float32",
    )
    add_output_arguments(parser)


def run(given: argparse.Namespace) -> int:
    serve = [sys.executable, "-P", "-m", "thespis", "serve"]
    model = [given.model] if given.model else []
    command = [*serve, *model, "--port", "0", *given.flag]
    rounds = []
    with progress(given.rounds, "starts") as bar:
        for _ in range(given.rounds):
            rounds.append(measure(command))
            bar.update()
    seconds = statistics.median(start.seconds for start in rounds)
    pss = statistics.median(start.pss_mb for start in rounds)
    whole = {
        "seconds_to_health": seconds,
        "pss_mb": pss,
        "cores": len(os.sched_getaffinity(0)),
        "rounds": [start._asdict() for start in rounds],
    }
    print_cells(
        given,
        [Cell("start to /health", seconds, "s"), Cell("memory of all processes", pss, "MB")],
        whole,
    )
    return 0


def measure(command: Sequence[str]) -> Start:
    """One start of a `serve` and its end. Raises EngineError with what it said last where it does
    not come up."""
    with tempfile.TemporaryFile("w+") as log:
        begin = time.perf_counter()
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            url = _announced_url(server)
            seconds = _await_health(url, begin) if url else None
            if seconds is None:
                log.seek(0)
                lines = log.read().splitlines() or ["it said nothing"]
                raise EngineError(f"The server did not come up. Its last line: {lines[-1]}")
            held = memory(server.pid)
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=LIMIT_SECONDS)
    return Start(round(seconds, 2), round(sum(held.values()), 1), held)


def memory(pid: int) -> dict[str, float]:
    """MB (2**20 bytes) of PSS of a process and all below it, by title; those of one title are
    added."""
    held: dict[str, float] = {}
    for process in _tree(pid):
        try:
            title = (
                Path(f"/proc/{process}/cmdline")
                .read_bytes()
                .replace(b"\0", b" ")
                .decode(errors="replace")
                .strip()
            )
        except OSError:  # a zygote's forks have parents that end at once
            continue
        title = title if title.startswith("thespis") else "command"
        held[title] = round(held.get(title, 0.0) + _pss(process), 1)
    return dict(sorted(held.items()))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for child in children_of(pid):
        yield from _tree(child)


def _pss(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has just ended
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _announced_url(server: "subprocess.Popen[str]") -> str | None:
    """The address from the line that serve prints when it listens; None where it ended before."""
    assert server.stdout is not None
    for line in server.stdout:
        for word in line.split():
            if word.startswith("http"):
                return word.removesuffix("/v1")
    return None


def _await_health(url: str, begin: float) -> float | None:
    while time.perf_counter() - begin < LIMIT_SECONDS:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
                if response.status == 200:
                    return time.perf_counter() - begin
        except (urllib.error.URLError, ConnectionError):
            time.sleep(PROBE_SECONDS)
    return None
