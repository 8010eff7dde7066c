"""`scripts/dev soak --minutes 120`: steady mixed load, then a table of each process's growth; exit
code 1 if it is too much."""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from thespis.protocol.checkpoint.folder import demo_model

from .report import Report
from .soak import Options, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/dev soak", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="of load, the start not counted (30)"
    )
    parser.add_argument("--rate", type=float, default=4.0, help="requests a second (4)")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the requests (drawn and printed)"
    )
    parser.add_argument(
        "--json",
        type=Path,
        default=None,
        metavar="FILE",
        help="write the figures and all samples there too",
    )
    parser.add_argument(
        "--model", type=Path, default=demo_model(), help="checkpoint folder (the bundled one)"
    )
    given = parser.parse_args()
    if not (0.05 <= given.minutes <= 10_000 and 0.1 <= given.rate <= 1000):
        parser.error("--minutes must be between 0.05 and 10000, --rate between 0.1 and 1000")
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10_000)
    report = asyncio.run(
        _run(Options(given.model, seed, given.rate, given.minutes * 60), given.json, _say())
    )
    print(f"\n{report.table()}")
    return 0 if report.good else 1


async def _run(options: Options, to: Path | None, say: Callable[[str], None]) -> Report:
    report = Report(options.seed, options.rate)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        try:
            await soak(options, Path(folder), report, say)
        except asyncio.CancelledError:  # Ctrl-C: what was seen so far is worth a table
            say("ended early")
        finally:
            if to is not None:
                to.write_text(json.dumps(report.as_dict(), indent=1) + "\n")
    return report


def _say() -> Callable[[str], None]:
    began = time.monotonic()
    return lambda text: print(f"{time.monotonic() - began:7.1f} {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
