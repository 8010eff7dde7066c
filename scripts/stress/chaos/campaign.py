"""A campaign: first the served engine with HTTP and AsyncLLM, then an engine of LLM's own, each
struck under load."""

import asyncio
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiohttp

from thespis import LLM, AsyncLLM
from thespis.frontends.client.client import Client
from thespis.gpu_runtime.facts.model import model_facts
from thespis.protocol.config.division import encoders_of
from thespis.protocol.config.engine import EngineConfig

from ..faces import AsyncFace, Face, HttpFace, LlmFace, observe
from ..history import Record
from ..holding import held
from ..media_server import media_server
from ..pool import Ask, make_pool
from ..serve import ENGINE, KEYS, SURROUNDINGS, served
from ..watch import Memory, segments_of, session_of
from .faults import ROLES, Fault, Pace, draw_round
from .load import Load
from .oracle import Oracle, stop_string
from .report import BUSY, Report
from .strike import Hand
from .zoo import SHOWN

BUSY_SECONDS = 10.0
"""Waiting for enough streams in their middle before a blow, at most."""
END_SECONDS = 15.0
LLM_SHARE = 0.2
"""Of the time, for the engine of LLM."""
CALM_SHARE, CALM_SECONDS = 0.12, 120.0
"""Of the served engine's time, at most so long: load without faults, in which memory is watched."""


WORLDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deterministic": {"deterministic": True},
    "encoders": {"encoders": 2},
    "speculative": {
        "speculative_config": {
            "method": "ngram",
            "num_speculative_tokens": 4,
            "prompt_lookup_max": 2,
        }
    },
}
"""What the engines of a campaign are started with beside `ENGINE`, by the world's name."""


@dataclass(kw_only=True)
class Options:
    model: Path
    animal: str | None = None
    """The model's name in the zoo, if it is from there."""
    seed: int
    world: str = "plain"
    """One of `WORLDS`. In the deterministic one an answer under blows is the undisturbed one: there
    are no ties."""
    http: int = 8
    """Streams at once, by face."""
    python: int = 10
    offline: int = 16
    least: int = 150
    most: int = 400
    """Tokens of an answer."""
    asks: int | None = None
    """Distinct requests; None: the whole pool."""
    pauses: tuple[float, float] = (0.3, 1.2)
    """Seconds between a recovery and the next fault."""
    calm: float = 0.0
    """Seconds of load without faults."""


@dataclass
class Campaign:
    """`folder` holds the copy of the model that is served, and the log."""

    options: Options
    folder: Path
    say: Callable[[str], None]
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        self.report = Report(self.options.seed, 0.0)
        # A copy: a process that is started anew must find the same weights.
        self._model = self.folder / "model"
        self.log = self.folder / "engine.log"
        """Of the server."""
        shutil.copytree(self.options.model, self._model, ignore=shutil.ignore_patterns("media"))
        self._settings = ENGINE | WORLDS[self.options.world]
        self._exact = self.options.world == "deterministic"
        self._struck = Counter[str]()
        """By role, in the engine of the moment."""
        taken = set(model_facts(self._model).placeholders)
        shown = taken if self.options.animal is None else taken & set(SHOWN)
        self._pool = make_pool(self.options.seed, self.options.least, self.options.most, shown)[
            : self.options.asks
        ]

    async def prepare(self) -> None:
        """The oracle's greedy answers."""
        start = time.monotonic()
        self._oracle = await asyncio.to_thread(Oracle, self._model, self.options.animal)
        greedy = [ask for ask in self._pool if ask.greedy]
        for ask in greedy:
            await asyncio.to_thread(self._oracle.solve, ask)
        self.say(
            f"oracle: transformers has answered {len(greedy)} greedy requests "
            f"({time.monotonic() - start:.0f} s)"
        )

    async def online(self, faults: Iterator[Fault], seconds: float) -> None:
        """HTTP and AsyncLLM on one served engine."""
        options = self.options
        async with AsyncExitStack() as stack:
            media = await stack.enter_async_context(media_server(options.seed))
            server = await stack.enter_async_context(served(self._model, self.log, self._settings))
            self.say(f"served at {server.url}, run directory {server.run_dir}")
            llm = await stack.enter_async_context(AsyncLLM(run_dir=server.run_dir))
            http = await stack.enter_async_context(
                aiohttp.ClientSession(server.url, connector=aiohttp.TCPConnector(limit=0))
            )
            python, web = AsyncFace(llm, media), HttpFace(http, media, KEYS)
            await self._learn(python)
            faces: list[Face] = [web] * options.http + [python] * options.python
            director = (await llm.status()).pids["director"]
            async with self._engine(server.run_dir, director):
                async with await Client.connect(server.run_dir) as client:
                    async with self._loaded(faces) as load:
                        hand = Hand(client, load, http, lambda: load.between)
                        await self._strike_all(hand, load, faults, seconds, lambda: load.between)
                        await self._calm(client, director)
                    await self._take_stock(client, python)
                await llm.close()
                await http.close()
                server.process.terminate()
                if await server.process.wait() != 0:
                    self.report.faults.append(f"the server ended with {server.process.returncode}")
                self.report.read_log(self.log.read_text(errors="replace"))

    async def offline(self, faults: Iterator[Fault], seconds: float) -> None:
        """LLM, called from many threads."""
        async with AsyncExitStack() as stack:
            media = await stack.enter_async_context(media_server(self.options.seed + 1))
            with patch.dict(os.environ, SURROUNDINGS):  # of this process, which the engine inherits
                llm = await asyncio.to_thread(lambda: LLM(str(self._model), **self._settings))
            try:
                run_dir = llm.run_dir
                director = (await asyncio.to_thread(llm.status)).pids["director"]
                async with self._engine(run_dir, director):
                    face = LlmFace(llm, media, self.options.offline)
                    await self._learn(face)
                    async with await Client.connect(run_dir) as client:
                        async with self._loaded([face] * self.options.offline) as load:
                            running = 0

                            async def count() -> None:
                                nonlocal running
                                while True:
                                    running = int(
                                        (await client.status())
                                        .stats.get("scheduler", {})
                                        .get("running", 0)
                                    )
                                    await asyncio.sleep(0.1)

                            counting = asyncio.create_task(count())
                            hand = Hand(client, load, None, lambda: running)
                            await self._strike_all(hand, load, faults, seconds, lambda: running)
                            counting.cancel()
                        await self._take_stock(client, face)
                    log = (run_dir / "engine.log").read_text(errors="replace")
                    self.report.read_log(log)
                    await asyncio.to_thread(llm.close)
            finally:
                await asyncio.to_thread(llm.close)

    async def _learn(self, face: Face) -> None:
        """Undisturbed answers of the sampled requests that have none yet; stop strings come from
        those without."""
        for place, ask in enumerate(self._pool):
            if ask.greedy and (self._exact or self.options.animal is not None):
                self._oracle.hear(ask, await self._undisturbed(face, ask))
            if ask.greedy or ask.name in self._oracle.wants:
                continue
            record = await self._undisturbed(face, ask)
            if (
                ask.wants_stop
                and (stop := stop_string("".join(said.text for said in record.said))) is not None
            ):
                self._pool[place] = ask = ask.with_stop(stop)
                record = await self._undisturbed(face, ask)
            self._oracle.learn(ask, record)
        self.say(
            f"oracle: an undisturbed run has answered the other "
            f"{sum(not ask.greedy for ask in self._pool)}"
        )

    async def _undisturbed(self, face: Face, ask: Ask) -> Record:
        record = Record(ask.name, face.name, time.monotonic())
        await observe(face, ask, record)
        if record.ended[-1].error is not None:
            raise RuntimeError(f"undisturbed, {ask.name} fails: {record.ended[-1].error}")
        return record

    @asynccontextmanager
    async def _loaded(self, faces: list[Face]) -> AsyncIterator[Load]:
        """Load on these faces; its figures are in the report afterwards."""
        load = Load(
            faces, self._pool, self._oracle, self.options.seed, self.say, ties=not self._exact
        )
        load.start()
        try:
            yield load
        finally:
            await load.stop()
            self.report.verdicts += load.counts
            self.report.requests += load.requests
            self.report.wrong += load.wrong

    @asynccontextmanager
    async def _engine(self, run_dir: Path, director: int) -> AsyncIterator[None]:
        """Afterwards nothing of it may be left."""
        yield
        deadline = time.monotonic() + END_SECONDS
        while (session_of(director) or segments_of(run_dir)) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        self.report.orphans += [
            f"process {pid} {title}" for pid, title in session_of(director).items()
        ]
        self.report.segments += segments_of(run_dir)

    async def _strike_all(
        self,
        hand: Hand,
        load: Load,
        faults: Iterator[Fault],
        seconds: float,
        between: Callable[[], int],
    ) -> None:
        pace, end = Pace(), time.monotonic() + seconds
        draw = random.Random(self.options.seed)
        for fault in faults:
            await asyncio.sleep(
                max(draw.uniform(*self.options.pauses), pace.wait(fault, time.monotonic()))
            )
            await _until(lambda: between() >= BUSY, BUSY_SECONDS)
            if time.monotonic() > end:
                break
            load.check()
            pace.note(fault, time.monotonic())
            strike = await hand.strike(fault)
            self._struck.update(fault.roles)
            self.report.strikes.append(strike)
            if strike.recovery is None:
                break
            unhealthy = strike.seen.unhealthy_after if strike.seen is not None else None
            health = "" if unhealthy is None else f", /health 503 after {unhealthy:.3f} s"
            self.say(
                f"{fault}: {strike.between} streams, ready again after {strike.recovery:.2f} "
                f"s{health}"
            )
        self.report.by_hand += hand.by_hand

    async def _take_stock(self, client: Client, face: Face) -> None:
        """When every stream is over: nothing may be held of any, by the engine or the client of
        `face`."""
        deadline = time.monotonic() + END_SECONDS
        while True:
            status = await client.status()
            own = {f"{face.name} {name}": value for name, value in face.held().items() if value}
            if not (left := held(status.stats) | own) or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.1)
        told = status.stats.get("scheduler", {})
        if guesses := told.get("drafted_tokens"):
            self.say(
                f"{told['accepted_tokens']:.0f} of the last scheduler's {guesses:.0f} guesses "
                f"were right"
            )
        self.report.held |= left
        self.report.restarts += Counter(status.restarts) - self._struck
        self._struck.clear()

    async def _calm(self, client: Client, director: int) -> None:
        """Watch the memory while nothing is killed; the first third is for new processes to grow
        warm."""
        await asyncio.sleep(self.options.calm / 3)
        memory, end = Memory(), time.monotonic() + self.options.calm * 2 / 3
        while time.monotonic() < end:
            memory.sample((await client.status()).pids)
            await asyncio.sleep(1.0)
        if self.options.calm:
            self.report.slopes = memory.slopes(self.options.calm / 2)


def beside(world: str) -> tuple[str, ...]:
    """Roles that engines have in this world and not in the plain one."""
    config = EngineConfig(**WORLDS[world])
    return tuple(role for role in encoders_of(config) if role not in ROLES)


def rounds(seed: int, http: bool, more: tuple[str, ...] = ()) -> Iterator[Fault]:
    """Faults without end; `more`: see `draw_round`."""
    draw, killed = random.Random(seed), Counter[str]()
    while True:
        faults = draw_round(draw, http, killed, more)
        killed.update(role for fault in faults for role in fault.roles)
        yield from faults


async def _until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
