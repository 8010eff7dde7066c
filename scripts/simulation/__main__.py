"""Thousands of engines on paper: `scripts/dev simulate fleet | router | check`

`fleet` runs the real scheduler, admission, embedding store and router policies of many replicas
between step times that were measured, and prints a table (docs/scale.md). `router` measures what
the real policy costs a router of so many replicas. `check` measures a real
engine of the bundled model run after run, fits the step times to every other run, and compares the
simulation of the remaining runs' arrivals with what their callers saw; the exit code is 1 where a
figure is more than 20 % away. `--write FILE` keeps the fitted times.
"""

import argparse
import gc
import json
import resource
import sys
import time
from pathlib import Path

import msgspec

from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.room import Room

from . import compare
from .asking import Workload
from .costs import costs
from .fleet import Fleet, Plan
from .loss import loss_table
from .report import Report, report_of, table
from .routing import POLICIES
from .times import Profile, coarser, read, write

MEASURED = Path(__file__).parent / "demo.json"
BLOCKS = 8192
"""Of KV per replica in a fleet, at most: a thousand of a real engine's books would not fit here."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/dev simulate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    fleet = verbs.add_parser("fleet", help="replicas behind routers, on a clock that jumps")
    fleet.add_argument("--replicas", type=int, default=100)
    fleet.add_argument("--rate", type=float, default=10.0, help="requests a second per replica")
    fleet.add_argument("--seconds", type=float, default=20.0, help="of simulated arrivals")
    fleet.add_argument("--routers", type=int, default=4)
    fleet.add_argument("--policy", choices=sorted(POLICIES), nargs="+", default=sorted(POLICIES))
    fleet.add_argument("--kill", type=float, default=0.0, help="part that dies half way through")
    fleet.add_argument("--replaced", type=float, default=10.0, help="seconds later, by new ones")
    fleet.add_argument("--media", type=float, default=Workload(1.0).media)
    fleet.add_argument("--grain", type=int, default=1, help="tokens simulated as one: 1, 2, 4, 8")
    fleet.add_argument("--seed", type=int, default=1)
    fleet.add_argument("--profile", type=Path, default=MEASURED)
    fleet.add_argument("--json", action="store_true")
    router = verbs.add_parser("router", help="what a decision of the real one costs")
    router.add_argument("--replicas", type=int, nargs="+", default=[20, 100, 1000])
    check = verbs.add_parser("check", help="a real engine beside the simulated one")
    check.add_argument("--rate", type=float, default=6.0, help="requests a second")
    check.add_argument("--seconds", type=float, default=8.0, help="of each run")
    check.add_argument("--rounds", type=int, default=5, help="of a run to fit and one to compare")
    check.add_argument("--media", type=float, default=0.3)
    check.add_argument("--seed", type=int, default=1)
    check.add_argument("--write", type=Path, metavar="FILE")
    given = parser.parse_args()
    if given.verb == "router":
        print(costs(given.replicas))
        return 0
    return run_fleet(given) if given.verb == "fleet" else run_check(given)


def run_fleet(given: argparse.Namespace) -> int:
    profile = coarser(bounded(read(given.profile)), given.grain)
    rows: list[tuple[str, Report]] = []
    gc.disable()  # nothing of it is in circles, and a thousand schedulers are much to look through
    for name in given.policy:
        began = time.process_time()
        rows.append((name, simulate(profile, given, name)))
        gc.collect()
        taken, most = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF)
        print(f"{name}: {taken:.0f} s of CPU, {most.ru_maxrss >> 10} MiB", file=sys.stderr)
    if given.json:
        print(json.dumps({name: msgspec.to_builtins(report) for name, report in rows}, indent=2))
    else:
        print(table(rows))
        if losses := loss_table((name, report.loss) for name, report in rows):
            print(f"\n{losses}")
    return 0


def simulate(profile: Profile, given: argparse.Namespace, name: str) -> Report:
    seconds, count = given.seconds, given.replicas
    deaths = ((seconds / 2, max(1, round(given.kill * count))),) if given.kill else ()
    plan = Plan(count, given.routers, deaths=deaths, replaced_seconds=given.replaced)
    doors, at_once = given.routers, profile.scheduler.max_num_seqs
    routers = [POLICIES[name](given.seed + n, doors, at_once) for n in range(doors)]
    fleet = Fleet(profile, plan, routers, given.seed)
    work = Workload(rate=given.rate * count, media=given.media, grain=given.grain)
    fleet.run(work.asks(seconds, given.seed), seconds, drain=60.0)
    return report_of(fleet, seconds)


def bounded(profile: Profile) -> Profile:
    room = profile.scheduler.room
    assert room is not None
    fewer = Room(tuple(min(BLOCKS, blocks) for blocks in room.blocks), room.states)
    scheduler = msgspec.structs.replace(profile.scheduler, room=fewer)
    return msgspec.structs.replace(profile, scheduler=scheduler)


def run_check(given: argparse.Namespace) -> int:
    from .real import measure, profile_of, requests

    count = 2 * given.rounds
    loads = [requests(given.rate, given.seconds, given.media, given.seed + n) for n in range(count)]
    engine = EngineConfig()
    runs = measure(engine, loads)
    fitted, others = runs[::2], runs[1::2]
    profile = profile_of(engine, fitted)
    if given.write:
        write(given.write, profile)
    real = compare.seen_of([compare.measured(run) for run in others])
    model = compare.seen_of([compare.simulated(profile, run, n) for n, run in enumerate(others)])
    away = compare.deviations(real, model)
    print(f"{'':20} {'measured':>10} {'simulated':>10} {'away':>8}")
    for name, part in away.items():
        judged = "" if name in compare.JUDGED else "  (not judged)"
        print(f"{name:20} {getattr(real, name):10} {getattr(model, name):10} {part:8.1%}{judged}")
    print(f"{sum(len(run.sent) for run in others)} requests; step model: {profile.times.step}")
    return int(any(abs(away[name]) > compare.TOLERANCE for name in compare.JUDGED))


if __name__ == "__main__":
    sys.exit(main())
