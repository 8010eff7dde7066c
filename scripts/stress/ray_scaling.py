"""A service of replicas that grows under load and shrinks in quiet: how long does either take, and
does a stream at a replica that goes come to its end?

`scripts/dev ray-scaling`: one replica of the bundled model in a Ray of its own, with delays of
seconds. Twice as many streams as one replica runs make it grow; then a few long ones are all there
is, and it shrinks under them. Every answer is compared with one engine's. The exit code is 1 where
it does not grow or shrink, where a stream is lost or differs, or where a process stays.
"""

import argparse
import asyncio
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from openai import AsyncOpenAI

from thespis.frontends.ray.service import ENGINE, ServiceConfig, application
from thespis.protocol.config.server import ServerConfig

from .process_tree import descendants
from .ray_service import (
    CONFIG,
    NODE_BYTES,
    SAID,
    Ask,
    Said,
    free_port,
    one_engine,
    replicas,
    say,
    wrong,
)

AT_ONCE = 4
"""Sequences of one replica."""
LONG = 3000
"""Tokens of a stream that is there while it shrinks."""
FEW = 3
"""Of those at once: what one replica runs."""
LOOK_SECONDS = 0.2
WAIT_SECONDS = 240.0
"""For the service to grow, and to shrink, beside the delays that are set."""


class States(NamedTuple):
    """Of the engines, as Serve tells them."""

    starting: int
    running: int
    stopping: int


class Stream(NamedTuple):
    begun: float
    ended: float
    ask: Ask
    said: Said | Exception


@contextmanager
def service(config: ServiceConfig, drain: float) -> Iterator[str]:
    """On this machine, in a Ray that ends with it; its address."""
    import ray
    from ray import serve

    port, most = free_port(), config.max_replicas or config.replicas
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
    ray.init(
        address="local", num_cpus=most + 1, include_dashboard=False, log_to_driver=False,
        object_store_memory=NODE_BYTES, logging_level="ERROR",
    )  # fmt: skip
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        engine = msgspec.structs.replace(CONFIG, max_num_seqs=AT_ONCE)
        made = application(engine, ServerConfig(port=port, drain_timeout=drain), config)
        serve.run(made, name="thespis")
        yield f"http://127.0.0.1:{port}"
        serve.shutdown()
    finally:
        ray.shutdown()


def states() -> States:
    from ray import serve

    told = serve.status().applications["thespis"].deployments[ENGINE].replica_states
    return States(*(told.get(name, 0) for name in ("STARTING", "RUNNING", "STOPPING")))


class Load:
    """Streams, of which so many are there at once: where one ends another begins."""

    def __init__(self, client: AsyncOpenAI, asks: Sequence[Ask], at_once: int) -> None:
        self._client, self._asks = client, itertools.cycle(asks)
        self._over = False
        self.streams: list[Stream] = []
        self._tasks = [asyncio.ensure_future(self._keep()) for _ in range(at_once)]

    async def _keep(self) -> None:
        while not self._over:
            ask, begun = next(self._asks), time.monotonic()
            try:
                said: Said | Exception = await say(self._client, ask)
            except Exception as error:
                said = error
            self.streams.append(Stream(begun, time.monotonic(), ask, said))

    async def over(self) -> list[Stream]:
        """No more begin; all that have."""
        self._over = True
        await asyncio.gather(*self._tasks)
        return self.streams


async def until(what: str, seconds: float, held: Callable[[States], bool]) -> float:
    """When it held. Raises TimeoutError."""
    begun = time.monotonic()
    while not held(now := await asyncio.to_thread(states)):
        if time.monotonic() > begun + seconds:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s, but {now}")
        await asyncio.sleep(LOOK_SECONDS)
    return time.monotonic()


def told(streams: Sequence[Stream], right: dict[Ask, Said]) -> bool:
    """Whether all are whole and one engine's."""
    found = wrong([one.ask for one in streams], right, [one.said for one in streams])
    print(
        f"  {len(streams)} streams: lost {found['lost']}, diverged {found['diverged']}", flush=True
    )
    return not found.total()


async def grow(url: str, asks: Sequence[Ask], most: int, wait: float) -> list[Stream]:
    """Under twice as many streams as the replicas of before run."""
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0, timeout=300) as client:
        begun = time.monotonic()
        load = Load(client, asks, 2 * AT_ONCE * (most - 1))
        decided = await until("it grows", wait, lambda now: now.starting > 0 or now.running > 1)
        there = await until("it has grown", wait, lambda now: now.running == most)
        await asyncio.sleep(5.0)
        streams = await load.over()
    homes = {one.said.replica: one.begun for one in reversed(streams) if isinstance(one.said, Said)}
    first = max(homes.values()) - begun
    print(
        f"grown under {2 * AT_ONCE * (most - 1)} streams, of which a replica runs {AT_ONCE}: asked "
        f"for after {decided - begun:.1f} s, {most} there after {there - begun:.1f} s, all of "
        f"{len(homes)} with answers to give from {first:.1f} s on",
        flush=True,
    )
    return streams


async def shrink(url: str, asks: Sequence[Ask], most: int, wait: float) -> list[Stream]:
    """Under a few long streams."""
    before = {pid: descendants(pid) for pid in replicas(os.getpid())}
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0, timeout=300) as client:
        begun = time.monotonic()
        load = Load(client, asks, FEW)
        decided = await until("it shrinks", wait, lambda now: now.running < most)
        gone = await until("it has shrunk", wait, lambda now: now == States(0, 1, 0))
        stays = (await say(client, Ask(0))).replica
        streams = await load.over()
    ours = replicas(os.getpid())
    left = {pid for one in before.keys() - set(ours) for pid in (one, *before[one])}
    stay = await ended(left)
    across = [one for one in streams if one.begun < decided < one.ended]
    there = [one for one in across if isinstance(one.said, Said) and one.said.replica != stays]
    behind = max((one.ended - decided for one in there), default=0.0)
    print(
        f"shrunk under {FEW} streams: let go after {decided - begun:.1f} s, gone "
        f"{gone - decided:.1f} s later; {len(there)} of {len(across)} streams were under way where "
        f"one went, the longest for {behind:.1f} s more; of its {len(left)} processes {len(stay)} "
        "stay",
        flush=True,
    )
    if stay:
        raise TimeoutError(f"processes of a replica that was let go stay: {sorted(stay)}")
    return streams


async def ended(pids: set[int]) -> set[int]:
    """Those that are there after a while."""
    deadline = time.monotonic() + 15
    while (stay := {pid for pid in pids if Path(f"/proc/{pid}").exists()}) and (
        time.monotonic() < deadline
    ):
        await asyncio.sleep(LOOK_SECONDS)
    return stay


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/dev ray-scaling", description=__doc__)
    parser.add_argument("--most", type=int, default=2, help="replicas (default: 2)")
    parser.add_argument("--rounds", type=int, default=1, help="of growth and shrinking")
    parser.add_argument("--up", type=float, default=2.0, help="upscale_delay_s (default: 2)")
    parser.add_argument("--down", type=float, default=5.0, help="downscale_delay_s (default: 5)")
    parser.add_argument("--look-back", type=float, default=11.0, help="look_back_period_s")
    parser.add_argument(
        "--drain", type=float, default=30.0, help="drain_timeout; with 0 long streams must move"
    )
    return parser.parse_args(given)


def main() -> int:
    given = arguments()
    short = [Ask(seed) for seed in range(24)]
    long = [Ask(seed, None, LONG, f"{SAID}, and of {seed}") for seed in range(100, 100 + 2 * FEW)]
    right = one_engine([*short, *long])
    print(f"one engine: {len(right)} answers", flush=True)
    config = ServiceConfig(
        replicas=1,
        max_replicas=given.most,
        upscale_delay_s=given.up,
        downscale_delay_s=given.down,
        look_back_period_s=given.look_back,
    )
    up, down = (WAIT_SECONDS + delay + given.look_back for delay in (given.up, given.down))
    fine = True
    with service(config, given.drain) as url:
        for _ in range(given.rounds):
            fine = told(asyncio.run(grow(url, short, given.most, up)), right) and fine
            fine = told(asyncio.run(shrink(url, long, given.most, down)), right) and fine
    print("all held" if fine else "NOT all held", flush=True)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
