"""What tracing costs a request: `scripts/dev bench tracing [MODEL]`

Two servers of one model at once, one without tracing and one that sends its spans to a receiver in
this process, asked in turn by streams over HTTP (`thespis bench serve`). CPU time of all processes
of each is taken from /proc over each round of both, so that what is done later counts, less what
they take at rest. Tracing works in the HTTP server alone: the exit code is 1 where that takes more
by above 2 % of what all processes take, in the median of rounds.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread
from typing import NamedTuple

from thespis.frontends.cli.bench.apart import command
from thespis.frontends.cli.server import Serving, serving
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.server import ServerConfig
from thespis.scripts.stress.watch import session_of

from . import parser_of
from .running import cpu_seconds

GOAL = 0.02
REST_SECONDS = 4.0
PROMPT_TOKENS = 32
ASK_SECONDS = 300.0


class Cpu(NamedTuple):
    """Seconds: of the HTTP server, and of all."""

    http: float
    all: float


class Round(NamedTuple):
    """Seconds of CPU without and with tracing."""

    off: Cpu
    on: Cpu

    @property
    def whole(self) -> float:
        return self.on.all / self.off.all - 1

    @property
    def http(self) -> float:
        """Of what all processes take without."""
        return (self.on.http - self.off.http) / self.off.all


def main() -> int:
    parser = parser_of("tracing", __doc__)
    parser.add_argument("model", nargs="?", default="", help="default: the bundled one")
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument(
        "--requests", type=int, default=256, help="of a round to each (default: %(default)s)"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=24, help="of each answer (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--file", action="store_true", help="with --trace-out, too")
    given = parser.parse_args()
    engine = EngineConfig(model=given.model, device="cpu", runner_threads=1)
    with tempfile.TemporaryDirectory() as folder, receiver() as endpoint:
        out = str(Path(folder) / "trace.json") if given.file else None
        traced = ServerConfig(port=0, otlp_endpoint=endpoint, trace_out=out)
        with serving(engine, ServerConfig(port=0)) as off, serving(engine, traced) as on:
            ask = (given.streams, given.requests, given.max_tokens)
            rounds = measure((off, on), given.rounds, ask)
    print(report(rounds, given.requests, given.max_tokens))
    return 0 if median(one.http for one in rounds) <= GOAL else 1


def measure(
    servers: tuple[Serving, Serving], rounds: int, ask: tuple[int, int, int]
) -> list[Round]:
    """Each of them asks first in every other round."""
    for server in servers:
        load(server, *ask)
    resting = [cpu_of(server) for server in servers]
    time.sleep(REST_SECONDS)
    rest = [less(cpu_of(server), then) for server, then in zip(servers, resting, strict=True)]
    found: list[Round] = []
    for number in range(rounds):
        began, before = time.monotonic(), [cpu_of(server) for server in servers]
        for server in servers if number % 2 else servers[::-1]:
            load(server, *ask)
        share = (time.monotonic() - began) / REST_SECONDS
        took = [
            less(less(cpu_of(server), then), Cpu(at_rest.http * share, at_rest.all * share))
            for server, then, at_rest in zip(servers, before, rest, strict=True)
        ]
        found.append(Round(*took))
    return found


def load(server: Serving, streams: int, requests: int, max_tokens: int) -> None:
    words = command(
        server.url,
        streams,
        requests=requests,
        max_tokens=max_tokens,
        prompt_tokens=PROMPT_TOKENS,
    )
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True, timeout=ASK_SECONDS)


def cpu_of(server: Serving) -> Cpu:
    titles = session_of(server.director)
    taken = {pid: cpu_seconds(pid) for pid in titles}
    return Cpu(sum(taken[pid] for pid in titles if "http" in titles[pid]), sum(taken.values()))


def less(later: Cpu, earlier: Cpu) -> Cpu:
    return Cpu(later.http - earlier.http, later.all - earlier.all)


def report(rounds: list[Round], requests: int, max_tokens: int) -> str:
    lines = []
    for name, cpus in (("off", [one.off for one in rounds]), ("on", [one.on for one in rounds])):
        whole = median(cpu.all for cpu in cpus) / requests * 1e6
        http = median(cpu.http for cpu in cpus) / requests * 1e6
        lines.append(
            f"{name}: {whole:.0f} us of CPU a request ({whole / max_tokens:.0f} a token), "
            f"of the HTTP server {http:.0f}"
        )
    more = median(one.on.http - one.off.http for one in rounds) / requests * 1e6
    lines.append(
        f"the HTTP server takes {more:+.0f} us a request, of what all processes take "
        f"{_spread([one.http for one in rounds])}; the goal is {GOAL:.0%}"
    )
    lines.append(f"all processes: {_spread([one.whole for one in rounds])}")
    return "\n".join(lines)


def _spread(shares: list[float]) -> str:
    found, quarter = sorted(shares), len(shares) // 4
    return (
        f"{median(found):+.1%} in the median of {len(found)} rounds "
        f"({found[quarter]:+.1%} to {found[-1 - quarter]:+.1%} between quartiles)"
    )


@contextmanager
def receiver() -> Iterator[str]:
    """A collector that forgets, and its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


if __name__ == "__main__":
    sys.exit(main())
