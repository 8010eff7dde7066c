"""What the real router costs a door: CPU of decisions by the number of replicas, memory of what it
remembers, keys of bodies by their sizes, and passing an answer on, piece by piece."""

import asyncio
import base64
import gc
import random
import time
import tracemalloc
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

import msgspec

from thespis.frontends.client.stream import Choice
from thespis.frontends.openai.answers.carried import Given, SoFar
from thespis.frontends.ray.affinity import MOST_KEYS, Affinity
from thespis.frontends.ray.edge import END, AnswerHead, AnswerPiece, encode
from thespis.frontends.ray.keys import LikeKeys, keys_of
from thespis.frontends.ray.relay import Relay

from .bodies import SALT

AT_ONCE = 4
"""Requests under way per replica."""
KNOWN = 16
"""Keys per replica that a router has seen."""
BATCH = 100
"""Decisions that are timed together."""


class Deciding(msgspec.Struct, frozen=True):
    """Microseconds of CPU of one request in the router: its order, and its end."""

    replicas: int
    known: float
    """Somebody has its picture."""
    new: float
    """Nobody has anything of it."""
    keyless: float
    update: float
    """When a replica comes or goes."""


def deciding(count: int, batches: int = 40) -> Deciding:
    """The middle one of so many batches each."""
    names = [f"app#engine#{number:08x}" for number in range(count)]
    policy, drawn = Affinity(), random.Random(count)
    policy.update(names)
    under_way: deque[str] = deque()
    serial = iter(range(1 << 40))

    def one(keys: LikeKeys) -> None:
        id = str(next(serial))
        policy.order(id, keys)
        under_way.append(id)
        if len(under_way) > AT_ONCE * count:
            policy.over(under_way.popleft())

    def fresh() -> LikeKeys:
        return LikeKeys((_key(drawn), _key(drawn)), "")

    had = [fresh() for _ in range(KNOWN * count)]
    for keys in had:
        one(keys)

    def away_and_back() -> None:
        policy.update(names[:-1])
        policy.update(names)

    update = _us(away_and_back, batches) / 2
    return Deciding(
        replicas=count,
        known=_middle(lambda: drawn.choice(had), one, batches),
        new=_middle(fresh, one, batches),
        keyless=_middle(LikeKeys, one, batches),
        update=round(update, 1),
    )


def _middle(make: Callable[[], LikeKeys], ask: Callable[[LikeKeys], None], batches: int) -> float:
    times: list[float] = []
    for _ in range(batches):
        wanted = [make() for _ in range(BATCH)]
        began = time.process_time()
        for keys in wanted:
            ask(keys)
        times.append((time.process_time() - began) / BATCH)
    return round(sorted(times)[batches // 2] * 1e6, 1)


def _key(drawn: random.Random) -> str:
    return f"{drawn.getrandbits(96):024x}"


def table_bytes(keys: int = MOST_KEYS) -> int:
    """Of a router that remembers so many keys, and a thousand replicas."""
    drawn, replicas = random.Random(1), [f"app#engine#{number:08x}" for number in range(1000)]
    gc.collect()
    tracemalloc.start()
    policy = Affinity()
    policy.update(replicas)
    for number in range(keys):
        policy.order(str(number), LikeKeys((_key(drawn),)))
        policy.over(str(number))
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size


def keying(picture: int, times: int = 20) -> float:
    """Microseconds of CPU for the keys of a body whose picture has so many bytes; 0: it has none,
    and 2,000 characters of text."""
    url = "data:image/jpeg;base64," + base64.b64encode(random.Random(3).randbytes(picture)).decode()
    shown = [{"type": "image_url", "image_url": {"url": url}}] if picture else []
    content = [*shown, {"type": "text", "text": "What is it? " * (1 if picture else 80)}]
    system = {"role": "system", "content": "You are of help. " * 64}
    turns = [system, {"role": "user", "content": content}]
    body = msgspec.json.encode({"model": "demo", "messages": turns})
    return round(_us(lambda: keys_of({}, body, SALT), times), 1)


def relaying(pieces: int = 5000) -> float:
    """Microseconds of CPU for a piece of one token, which is kept for a successor; without what
    the network and Ray take."""
    choice = Choice(0, " word", [1234])
    piece = encode([SoFar("id", 1, "", {0: Given(7, "digest", [choice])})])

    async def send(so_far: bytes, avoid: Sequence[str]) -> AsyncGenerator[AnswerPiece, None]:
        yield "head", encode(AnswerHead(200, [], "replica", False)), b""
        for _ in range(pieces):
            yield "piece", piece, b"data: {}\n\n"
        yield END

    async def whole() -> None:
        _, answer = await Relay(send, True, ()).answer()
        async for _ in answer:
            pass

    began = time.process_time()
    asyncio.run(whole())
    return round((time.process_time() - began) / pieces * 1e6, 1)


def _us(what: Callable[[], object], times: int) -> float:
    taken: list[float] = []
    for _ in range(times):
        began = time.process_time()
        what()
        taken.append(time.process_time() - began)
    return sorted(taken)[times // 2] * 1e6


def costs(counts: Iterable[int]) -> str:
    """As Markdown."""
    lines = [
        "| replicas | key known, µs | new, µs | no key, µs | a replica comes or goes, µs |",
        "|---|---|---|---|---|",
    ]
    for count in counts:
        seen = deciding(count)
        lines.append(
            f"| {count} | {seen.known} | {seen.new} | {seen.keyless} | {seen.update:.0f} |"
        )
    lines.append(f"\n{MOST_KEYS} keys remembered: {table_bytes() / (1 << 20):.1f} MiB.")
    for size in (0, 100_000, 1_000_000, 8_000_000):
        what = f"a picture of {size} bytes" if size else "2,000 characters of text"
        lines.append(f"Keys of a body with {what}: {keying(size):.0f} µs.")
    lines.append(f"A piece of an answer passed on: {relaying()} µs.")
    return "\n".join(lines)
