"""`scripts/dev chaos --minutes 15`: strikes an engine under load, prints the table; exit code 1 for
anything lost or left."""

import argparse
import asyncio
import json
import random
import shutil
import tempfile
import time
from pathlib import Path

from thespis.protocol.checkpoint.folder import demo_model
from thespis.tests.zoo.catalog import NAMES, build

from .campaign import CALM_SECONDS, CALM_SHARE, LLM_SHARE, WORLDS, Campaign, Options, beside, rounds


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/dev chaos", description=__doc__)
    parser.add_argument(
        "--minutes",
        type=float,
        default=5.0,
        help="of faults and calm, start and oracle not counted (5)",
    )
    parser.add_argument(
        "--seed", type=int, default=None, help="of requests and faults (drawn and printed)"
    )
    parser.add_argument(
        "--json", type=Path, default=None, metavar="FILE", help="write the figures there too"
    )
    parser.add_argument(
        "--model", type=Path, default=demo_model(), help="checkpoint folder (the bundled one)"
    )
    parser.add_argument(
        "--world", choices=WORLDS, default="plain", help="what the engines are started with (plain)"
    )
    parser.add_argument(
        "--zoo",
        choices=NAMES,
        metavar="NAME",
        help="a tiny checkpoint of this family instead: gemma3, ...",
    )
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10_000)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:7.1f} {text}", flush=True)

    say(f"seed {seed}")
    seconds = given.minutes * 60
    calm = min(CALM_SECONDS, CALM_SHARE * seconds)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        model = given.model if given.zoo is None else build(given.zoo, Path(folder) / given.zoo)
        campaign = Campaign(
            Options(model=model, animal=given.zoo, seed=seed, world=given.world, calm=calm),
            Path(folder),
            say,
        )
        asyncio.run(run(campaign, seconds))
        if not campaign.report.good:
            say(
                f"the server's log is kept in "
                f"{shutil.copy(campaign.log, tempfile.mkstemp(prefix='chaos-', suffix='.log')[1])}"
            )
    report = campaign.report
    report.minutes = given.minutes
    print(f"\n{report.table()}")
    if given.json is not None:
        given.json.write_text(json.dumps(report.as_dict(), indent=1) + "\n")
    return 0 if report.good else 1


async def run(campaign: Campaign, seconds: float) -> None:
    seed, more = campaign.options.seed, beside(campaign.options.world)
    await campaign.prepare()
    await campaign.online(
        rounds(seed, True, more), seconds * (1 - LLM_SHARE) - campaign.options.calm
    )
    await campaign.offline(rounds(seed + 1, False, more), seconds * LLM_SHARE)


if __name__ == "__main__":
    raise SystemExit(main())
