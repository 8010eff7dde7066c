"""`scripts/dev overload`: 1x, 10x and 1x again, on `thespis serve`; prints a table; exit code 1
where a bound is missed."""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from thespis.protocol.checkpoint.folder import demo_model

from ..serve import KEYS, Served, served
from .caller import make_requests
from .phases import closed, opened
from .report import Report, Summary
from .server_side import Refusals, memory

CALLERS = 64
"""Of the closed loop: as many as the engine runs at once."""
RAMP_SECONDS = 3.0
"""Of each load, before it is measured."""
CALM_SECONDS = 5.0
"""From the flood's end to the load after it."""
TIMES = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/dev overload", description=__doc__)
    parser.add_argument(
        "--seconds",
        type=float,
        default=15.0,
        help="that each of the four loads is measured for (15)",
    )
    parser.add_argument(
        "--rounds", type=int, default=1, help="of all of it; the bounds hold for the medians (1)"
    )
    parser.add_argument("--max-tokens", type=int, default=256, help="of each answer (256)")
    parser.add_argument("--seed", type=int, default=0, help="of the requests (0)")
    parser.add_argument(
        "--json", type=Path, default=None, metavar="FILE", help="write the figures there too"
    )
    parser.add_argument(
        "--model", type=Path, default=demo_model(), help="checkpoint folder (the bundled one)"
    )
    given = parser.parse_args()
    if not (1 <= given.seconds <= 300 and 1 <= given.rounds <= 20):
        parser.error("--seconds must be between 1 and 300, --rounds between 1 and 20")
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:7.1f} {text}", flush=True)

    reports = uvloop.run(run(given, say))
    for report in reports:
        print(f"\n{report.table()}")
    whole = Summary(reports)
    print(f"\n{whole.table()}")
    if given.json is not None:
        given.json.write_text(json.dumps(whole.as_dict(), indent=1) + "\n")
    return 0 if whole.good else 1


async def run(given: argparse.Namespace, say: Callable[[str], None]) -> list[Report]:
    requests = make_requests(given.seed, KEYS[0], given.max_tokens)
    with tempfile.TemporaryDirectory(prefix="overload-") as folder:
        async with served(given.model, Path(folder) / "log") as server:
            return [
                await measure(server, requests, given.seconds, say) for _ in range(given.rounds)
            ]


async def measure(
    server: Served, requests: list[bytes], seconds: float, say: Callable[[str], None]
) -> Report:
    port = int(server.url.rpartition(":")[2])
    director = int((server.run_dir / "lock").read_text())
    memories: dict[str, float] = {}

    async def note(moment: str) -> None:
        memories[moment] = await asyncio.to_thread(memory, director)

    found = await closed(port, requests, CALLERS, RAMP_SECONDS, seconds)
    rate = found.goodput
    say(f"a closed loop of {CALLERS} callers carries {rate:.1f} answers/s")
    before, rest = await opened(port, requests, rate, RAMP_SECONDS, seconds)
    await rest
    say(f"1x: {before.goodput:.1f} answers/s")
    await note("before")
    first = await Refusals.scrape(server.url, KEYS[0])
    flood, rest = await opened(
        port, requests, TIMES * rate, RAMP_SECONDS, seconds, lambda: note("flood begins")
    )
    over = time.monotonic()
    await note("flood ends")
    say(f"{TIMES}x: {flood.goodput:.1f} answers/s of {flood.offered:.0f} offered")
    refusals = (await Refusals.scrape(server.url, KEYS[0])).since(first)
    await asyncio.sleep(max(0.0, over + CALM_SECONDS - time.monotonic()))
    after, last = await opened(port, requests, rate, RAMP_SECONDS, seconds)
    await asyncio.gather(rest, last)
    say(f"1x, {CALM_SECONDS:g} s after: {after.goodput:.1f} answers/s")
    await note("after")
    return Report(rate, before, flood, after, refusals, memories)


if __name__ == "__main__":
    raise SystemExit(main())
