"""A real engine of the bundled model under requests that come at set times: what its callers saw,
and what its scheduler wrote down."""

import asyncio
import os
import random
import re
import time
from pathlib import Path
from typing import Any

import msgspec

from thespis.actors.director.config import Cast
from thespis.frontends.cli.bench.asking import picture_url
from thespis.frontends.engine import start_engine
from thespis.frontends.python.async_llm import AsyncLLM
from thespis.protocol.config.division import share_of, workers_of
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.requests.sampling import SamplingParams

from .recording import FILE, Arrived, Config, Encoded, First, Record, Step
from .times import Line, Profile, StepSeen, Times, fit_line, fit_steps, spread_of

SIDES = (56, 112, 224, 336, 448)
MODULE = "thespis.scripts.simulation.recording"


class Sent(msgspec.Struct):
    """One request and what its caller saw, seconds since the first was due."""

    at: float
    text: tuple[int, ...]
    sides: tuple[int, ...]
    """Of its pictures."""
    answer: int
    first: float = 0.0
    last: float = 0.0
    gaps: list[float] = []
    rows: tuple[int, ...] = ()
    """As prepared, like the next."""
    tokens: int = 0


class Run(msgspec.Struct, frozen=True):
    sent: list[Sent]
    records: list[Record]
    seconds: float


def requests(rate: float, seconds: float, media: float, seed: int) -> list[Sent]:
    rng, now, made = random.Random(seed), 0.0, list[Sent]()
    while (now := now + rng.expovariate(rate)) < seconds:
        text = tuple(rng.randrange(100, 200) for _ in range(rng.choice((16, 32, 64, 128, 256))))
        sides = (rng.choice(SIDES),) if rng.random() < media else ()
        made.append(Sent(now, text, sides, rng.choice((16, 32, 64, 96))))
    return made


def measure(engine: EngineConfig, loads: list[list[Sent]]) -> list[Run]:
    """One engine, one load after the other; the first requests of each are also its warming up."""
    handle = start_engine(engine, cast=Cast(modules={"scheduler": MODULE}))
    try:
        return asyncio.run(_measure(handle.run_dir, loads))
    finally:
        handle.stop()


async def _measure(run_dir: Path, loads: list[list[Sent]]) -> list[Run]:
    runs: list[Run] = []
    async with AsyncLLM(run_dir=run_dir) as llm:
        await _load(llm, requests(20.0, 2.0, 0.5, 99), 990_000)
        seen = len(_read(run_dir / FILE))
        for number, sent in enumerate(loads):
            seconds = await _load(llm, sent, 1000 * (number + 1))
            await asyncio.sleep(0.2)
            records = _read(run_dir / FILE)
            new, seen = records[seen:], len(records)
            arrived = sorted((r for r in new if isinstance(r, Arrived)), key=lambda r: r.arrival)
            for request, record in zip(sent, arrived, strict=True):
                request.rows, request.tokens = record.rows, record.tokens
            config = next(r for r in records if isinstance(r, Config))
            runs.append(Run(sent, [config, *new], seconds))
    return runs


def _read(file: Path) -> list[Record]:
    decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
    return decoder.decode_lines(file.read_bytes())


async def _load(llm: AsyncLLM, sent: list[Sent], seed: int) -> float:
    prompts = [_prompt(request, seed + index) for index, request in enumerate(sent)]
    begin = time.monotonic() + 0.2

    async def one(request: Sent, prompt: Any) -> None:
        await asyncio.sleep(begin + request.at - time.monotonic())
        params = SamplingParams(max_tokens=request.answer, ignore_eos=True, temperature=0.0, seed=0)
        last = 0.0
        async for update in llm.stream(prompt, params):
            now = time.monotonic() - begin
            count = len(update.token_ids)
            if not count:
                continue
            if not last:
                request.first, fresh = now, [0.0] * (count - 1)
            else:
                fresh = [(now - last) / count] * count
            request.gaps = request.gaps + fresh
            last = request.last = now

    await asyncio.gather(*(one(r, p) for r, p in zip(sent, prompts, strict=True)))
    return time.monotonic() - begin


def _prompt(request: Sent, seed: int) -> Any:
    if not request.sides:
        return {"prompt_token_ids": list(request.text)}
    urls = [picture_url(seed, side) for side in request.sides]
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    words = " ".join(map(str, request.text[:16]))
    return [{"role": "user", "content": [*parts, {"type": "text", "text": words}]}]


class _Seen(msgspec.Struct):
    """What runs have shown, together."""

    steps: list[StepSeen] = []
    before: list[float] = []
    before_media: list[float] = []
    after: list[float] = []
    decodes: list[tuple[float, float]] = []
    """(thousands of pixels, seconds)."""
    encodes: list[tuple[float, float]] = []
    """(rows, seconds)."""

    def take(self, run: Run) -> None:
        arrived = sorted(
            (record for record in run.records if isinstance(record, Arrived)),
            key=lambda record: record.arrival,
        )
        firsts = {record.id: record.at for record in run.records if isinstance(record, First)}
        begin = arrived[0].arrival - run.sent[0].at
        for sent, record in zip(run.sent, arrived, strict=True):
            after = sent.first + begin - firsts[record.id]
            self.after.append(max(0.0, after))
            waited = record.here - record.arrival
            if not sent.sides:
                self.before.append(waited)
                continue
            taken = [ended - began for began, ended in record.decoding]
            self.before_media.append(waited - sum(taken))
            pixels = [side * side / 1000 for side in sent.sides]
            self.decodes += zip(pixels, taken, strict=True)
        self.steps += [
            StepSeen(r.shape, r.ended - r.began, r.inside, r.beside)
            for r in run.records
            if isinstance(r, Step)
        ]
        batches = {r.began: r for r in run.records if isinstance(r, Encoded)}.values()
        self.encodes += [(_rows(r.detail), r.ended - r.began) for r in batches]


def profile_of(engine: EngineConfig, runs: list[Run]) -> Profile:
    """The step times and the rest, fitted to what these runs have written down."""
    config = next(record for record in runs[0].records if isinstance(record, Config))
    seen = _Seen()
    for run in runs:
        seen.take(run)
    coefficients, spread, beside, inside = fit_steps(seen.steps)
    times = Times(
        step=tuple(round(value, 9) for value in coefficients),
        spread=spread,
        beside=round(beside, 3),
        inside=round(inside, 3),
        before=spread_of(seen.before),
        before_media=spread_of(seen.before_media or seen.before),
        after=spread_of(seen.after),
        decode=fit_line(seen.decodes, Line(0.005, 2e-5)),
        encode=fit_line(seen.encodes, Line(0.01, 1e-4)),
        decoders=workers_of(engine),
    )
    cores = len(os.sched_getaffinity(0))
    return Profile("demo", cores, config.scheduler, share_of(engine), times)


def _rows(detail: str) -> float:
    found = re.search(r"(\d+) rows", detail)
    return float(found[1]) if found else 0.0
