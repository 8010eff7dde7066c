"""`scripts/dev hostile --seed 7 --minutes 12`: hostile cases at a served engine; exit code 1 where
a bound is missed."""

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from thespis.protocol.checkpoint.folder import demo_model

from ..serve import served
from .campaign import Options, describe, run
from .draw import KINDS
from .embeds import CANARY
from .report import Report
from .shot import MEBIBYTE

ENGINE = {"trust_request_chat_template": True, "enable_mm_embeds": True}
"""As shipped, but for what would refuse two of the kinds at the door."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/dev hostile", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of all cases (drawn and printed)")
    parser.add_argument(
        "--minutes", type=float, default=5.0, help="of calm and cases, the start not counted (5)"
    )
    parser.add_argument(
        "--cases",
        type=int,
        default=None,
        metavar="N",
        help="at most so many (as many as there is time for)",
    )
    parser.add_argument(
        "--max-body-mb",
        type=float,
        default=250.0,
        metavar="X",
        help="MiB of the largest body (250)",
    )
    parser.add_argument(
        "--kinds",
        nargs="+",
        default=(),
        choices=KINDS,
        metavar="KIND",
        help=f"of {', '.join(KINDS)} (all)",
    )
    parser.add_argument(
        "--only", type=int, nargs="+", default=(), metavar="K", help="these cases of the seed alone"
    )
    parser.add_argument(
        "--json", type=Path, default=None, metavar="FILE", help="write the figures there too"
    )
    given = parser.parse_args()
    if given.only and given.seed is None:
        parser.error("--only takes cases of a --seed")
    options = Options(
        seed=given.seed if given.seed is not None else random.SystemRandom().randrange(10_000),
        biggest=int(given.max_body_mb * MEBIBYTE),
        seconds=given.minutes * 60,
        cases=given.cases,
        only=tuple(given.only),
        kinds=frozenset(given.kinds),
    )
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:7.1f} {text}", flush=True)

    say(f"seed {options.seed}")
    for text in describe(options):
        print(text)
    report = asyncio.run(attack(options, say))
    print(f"\n{report.table()}\n\n{report.waits()}")
    if given.json is not None:
        given.json.write_text(json.dumps(report.as_dict(), indent=1) + "\n")
    return 0 if report.good else 1


async def attack(options: Options, say: Callable[[str], None]) -> Report:
    """On a server of its own."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        canary, log = Path(folder) / "canary", Path(folder) / "log"
        with patch.dict(os.environ, {CANARY: str(canary)}):  # the engine inherits it
            async with served(demo_model(), log, ENGINE, keys=()) as server:
                director = int((server.run_dir / "lock").read_text())
                report = await run(server.url, director, canary, options, say)
        if not report.good:
            kept = Path(tempfile.mkstemp(prefix="hostile-", suffix=".log")[1])
            kept.write_bytes(log.read_bytes())
            say(f"the server's log is kept in {kept}")
    return report


if __name__ == "__main__":
    raise SystemExit(main())
