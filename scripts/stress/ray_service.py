"""Replicas of the bundled model behind one address, on several nodes of Ray on this machine: are
their answers one engine's, do likes meet, is the load even, and does a stream outlive its
replica?"""

import argparse
import asyncio
import base64
import io
import os
import random
import signal
import socket
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from openai import AsyncOpenAI
from PIL import Image

from thespis.frontends.cli.server import serving
from thespis.frontends.ray.door import REPLICA
from thespis.frontends.ray.service import ENGINE, ServiceConfig, application
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.server import ServerConfig

from .process_tree import descendants

MODEL = "demo_model"
CONFIG = EngineConfig(
    dtype="float32", device="cpu", kv_cache_gb=0.125, runner_threads=1, encoder_threads=1,
    decode_workers=1,
)  # fmt: skip
STREAMS = 16
PICTURES, TIMES = 24, 4
EVEN = 0.2
TOKENS = 96
NODE_BYTES = 100 << 20
BACK_SECONDS = 180.0
"""For a replica that takes the place of a dead one."""
SAID = "hello, tell me about a picture, a clip and a sound"


class Ask(NamedTuple):
    """One request. What it says is drawn with its seed."""

    seed: int
    picture: str | None = None
    tokens: int = TOKENS
    words: str = SAID
    """It begins with them: those who say the same are likes."""

    def body(self) -> dict[str, Any]:
        words = {"type": "text", "text": f"{self.words} {self.seed % 7}"}
        shown = [{"type": "image_url", "image_url": {"url": self.picture}}] if self.picture else []
        return {
            "model": MODEL,
            "messages": [{"role": "user", "content": [*shown, words]}],
            "seed": self.seed,
            "temperature": 1.0,
            "max_tokens": 24 if self.picture else self.tokens,
            "stream": True,
            "extra_body": {"ignore_eos": True, "return_token_ids": True},
        }


class Said(NamedTuple):
    text: str
    tokens: tuple[int, ...]
    replica: str


def picture(number: int) -> str:
    """A small one of its own colours."""
    draw = random.Random(number)
    image = Image.new("RGB", (56, 56), tuple(draw.randrange(256) for _ in range(3)))
    image.putpixel((number % 56, 5), (255, 255, 255))
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


async def say(client: AsyncOpenAI, ask: Ask) -> Said:
    raw = await client.chat.completions.with_raw_response.create(**ask.body())
    text, tokens, ended = "", list[int](), False
    async for chunk in raw.parse():
        for choice in chunk.choices:
            text += choice.delta.content or ""
            tokens += (choice.model_extra or {}).get("token_ids") or []
            ended = ended or choice.finish_reason is not None
    if not ended:
        raise EOFError("the stream has no end")
    return Said(text, tuple(tokens), raw.headers.get(REPLICA, ""))


async def say_all(url: str, asks: Sequence[Ask], at_once: int) -> list[Said | Exception]:
    """As a client who does not try again."""
    places = asyncio.Semaphore(at_once)

    async def one(client: AsyncOpenAI, ask: Ask) -> Said | Exception:
        async with places:
            try:
                return await say(client, ask)
            except Exception as error:
                return error

    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0, timeout=300) as client:
        return await asyncio.gather(*(one(client, ask) for ask in asks))


def wrong(
    asks: Sequence[Ask], right: dict[Ask, Said], said: Sequence[Said | Exception]
) -> Counter[str]:
    """How many were lost, and how many say something else than one engine."""
    found = Counter(lost=0, diverged=0)
    for ask, one in zip(asks, said, strict=True):
        if isinstance(one, Exception):
            found["lost"] += 1
            print(f"  lost: {type(one).__name__}: {one}"[:300], flush=True)
        elif (one.text, one.tokens) != (right[ask].text, right[ask].tokens):
            found["diverged"] += 1
            at = next(
                (
                    n
                    for n, (a, b) in enumerate(zip(one.tokens, right[ask].tokens, strict=False))
                    if a != b
                ),
                -1,
            )
            print(
                f"  diverged at {at}: {one.text[:60]!r}, not {right[ask].text[:60]!r}", flush=True
            )
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# the machine's processes


def replicas(ours: int) -> list[int]:
    """The processes of replicas that descend from this program."""
    return [
        pid
        for pid, title in descendants(ours).items()
        if title.startswith("ray::") and ENGINE in title
    ]


def kill_tree(pid: int) -> int:
    """Every process of it, none of which is warned; how many."""
    pids = [pid, *descendants(pid)]
    for one in pids:
        try:
            os.kill(one, signal.SIGSTOP)  # so that nobody makes another one meanwhile
        except ProcessLookupError:
            continue
    pids = list(dict.fromkeys([*pids, *descendants(pid)]))
    for one in pids:
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(pids)


@contextmanager
def cluster(count: int) -> Iterator[str]:
    """A service of so many replicas, each on a node of its own; its address."""
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
    port = free_port()
    head = {"num_cpus": 1, "object_store_memory": NODE_BYTES, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(count):
            nodes.add_node(num_cpus=1, object_store_memory=NODE_BYTES, resources={"engine": 1})
        ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        config = ServiceConfig(replicas=count, num_cpus=1)
        serve.run(application(CONFIG, ServerConfig(port=port), config), name="thespis")
        yield f"http://127.0.0.1:{port}"
        serve.shutdown()
    finally:
        ray.shutdown()
        nodes.shutdown()


def one_engine(asks: Sequence[Ask]) -> dict[Ask, Said]:
    """What one engine says, without Ray."""
    with serving(CONFIG, ServerConfig(port=0)) as running:
        said = asyncio.run(say_all(running.url, asks, STREAMS))
    for one in said:
        if isinstance(one, Exception):
            raise one
    return {ask: one for ask, one in zip(asks, said, strict=True) if isinstance(one, Said)}


def check_pictures(url: str, count: int, right: dict[Ask, Said]) -> bool:
    asks = [ask for ask in right if ask.picture is not None]
    random.Random(count).shuffle(asks)
    said = asyncio.run(say_all(url, asks, 4 * count))
    found = wrong(asks, right, said)
    where: dict[str | None, set[str]] = defaultdict(set)
    load: Counter[str] = Counter()
    for ask, one in zip(asks, said, strict=True):
        if isinstance(one, Said):
            where[ask.picture].add(one.replica)
            load[one.replica] += 1
    apart = sum(len(homes) > 1 for homes in where.values())
    off = max(abs(load[one] * count / len(asks) - 1) for one in load) if len(load) == count else 1
    print(
        f"{count} replicas: {len(asks)} requests about {len(where)} pictures, lost "
        f"{found['lost']}, diverged {found['diverged']}; pictures at more than one "
        f"replica {apart}; requests by replica {sorted(load.values())}, {off:.0%} off the mean",
        flush=True,
    )
    return not found.total() and off <= EVEN and not apart


async def _under_fire(
    url: str, asks: Sequence[Ask], delay: float, kills: int
) -> tuple[list[Said | Exception], int]:
    """16 streams; after a moment replicas die, each with all its processes."""
    saying = asyncio.ensure_future(say_all(url, asks, STREAMS))
    killed = 0
    for _ in range(kills):
        await asyncio.sleep(delay)
        alive = await asyncio.to_thread(replicas, os.getpid())
        if len(alive) > 1 and not saying.done():
            killed += await asyncio.to_thread(kill_tree, random.choice(alive))
    return await saying, killed


def check_kills(url: str, count: int, right: dict[Ask, Said], minutes: float) -> bool:
    """Once, and again as long as there is time: always while all replicas are there."""
    plain = [ask for ask in right if ask.picture is None]
    begun, rounds, processes, lost, longest = time.monotonic(), 0, 0, Counter[str](), 0.0
    while not rounds or time.monotonic() < begun + 60 * minutes:
        start = time.monotonic()
        said, killed = asyncio.run(_under_fire(url, plain, random.uniform(0.2, 1.5), 1))
        longest = max(longest, time.monotonic() - start)
        lost += wrong(plain, right, said)
        rounds, processes = rounds + 1, processes + killed
        wait_for(count)
    streams = rounds * len(plain)
    print(
        f"{count} replicas: killed in {rounds} rounds, {processes} processes, under {streams} "
        f"streams, {STREAMS} at once: streams lost {lost['lost']}, diverged {lost['diverged']}; "
        f"the longest round took {longest:.1f} s",
        flush=True,
    )
    return not lost.total() and processes > 0


def wait_for(count: int) -> None:
    """Until so many replicas are there."""
    from ray import serve

    until = time.monotonic() + BACK_SECONDS
    while time.monotonic() < until:
        status = serve.status().applications["thespis"].deployments[ENGINE]
        if status.replica_states.get("RUNNING") == count and len(replicas(os.getpid())) == count:
            return
        time.sleep(0.5)
    raise TimeoutError("a replica did not come back")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/dev ray", description=__doc__)
    parser.add_argument("--replicas", default="2,4", help="one run for each (default: 2,4)")
    parser.add_argument("--minutes", type=float, default=0.0, help="of kills, with the last")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(given)


def main() -> int:
    told = arguments()
    random.seed(told.seed)
    plain = [Ask(seed) for seed in range(STREAMS * 2)]
    shown = [Ask(100 + n, picture(n % PICTURES)) for n in range(PICTURES * TIMES)]
    right = one_engine([*plain, *shown])
    print(f"one engine: {len(right)} answers", flush=True)
    fine = True
    counts = [int(count) for count in told.replicas.split(",")]
    for count in counts:
        begun = time.monotonic()
        with cluster(count) as url:
            print(f"{count} replicas: up in {time.monotonic() - begun:.0f} s", flush=True)
            fine = check_pictures(url, count, right) and fine
            minutes = told.minutes if count == counts[-1] else 0.0
            fine = check_kills(url, count, right, minutes) and fine
    print("all held" if fine else "NOT all held", flush=True)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
