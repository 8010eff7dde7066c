"""A wall clock that is set forward or back by an hour moves no queue, no deadline and no duration;
people still read it."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from thespis import AsyncLLM, SamplingParams
from thespis.actors.scheduler.scheduler import Scheduler
from thespis.frontends.client.client import Client
from thespis.frontends.client.deadline import before, steady
from thespis.frontends.client.stream import Stream
from thespis.frontends.openai.access import Told
from thespis.frontends.openai.answers.generate import CallMeter
from thespis.frontends.python.moment import Moment
from thespis.frontends.python.outputs import collect
from thespis.protocol.edges.detokenizer_to_client import Delta, Finished
from thespis.protocol.edges.scheduler_to_detokenizer import Usage
from thespis.protocol.errors import RequestError
from thespis.protocol.requests.prepared import Timing
from thespis.protocol.requests.request import TextPrompt

from ...actors.scheduler.bench import config, prepared
from ...helpers.sources import FILES, source
from .test_client import director, everybody, welcome

HOUR = 3600.0
STEPS = pytest.mark.parametrize("step", [-HOUR, HOUR, -40 * 365 * 24 * HOUR])
WALL = {
    "actors/fetcher/disk.py": "how old files of earlier runs are",
    "actors/prompting/template.py": "the date that a template may write",
    "gpu_runtime/native/build.py": "how old what killed builds left is",
    "actors/encoder_cache/disk/pins.py": "until when a pin lasts, over restarts",
    "frontends/python/moment.py": "the time that people read",
    "frontends/client/deadline.py": "what a caller gave in unix seconds",
    "frontends/openai/answers/carried.py": "`created` of an answer",
    "frontends/openai/live/watch.py": "the times that the operators' page shows",
    "frontends/openai/embeddings/handler.py": "`created` of an answer",
    "frontends/openai/scoring/handler.py": "`created` of an answer",
    "frontends/openai/ollama/facts.py": "`created` of the model",
    "frontends/openai/responses/writer.py": "when an answer was complete",
    "frontends/openai/batches/handler.py": "until when a batch may run, over restarts",
    "frontends/openai/batches/job.py": "whether it may still run, and when what happened",
    "frontends/openai/stored/books.py": "how old the count of a folder is",
    "frontends/openai/stored/store.py": "when what is stored is over, over restarts",
    "frontends/openai/traces/traces.py": "when a span was, as collectors read it",
    "frontends/openai/app_state.py": "`created` of the model",
}
"""The only files of the engine that ask the wall clock, and what for."""


class WallClock:
    """`time.time`, until it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real, self._offset = time.time, 0.0
        monkeypatch.setattr(time, "time", lambda: self._real() + self._offset)

    def set(self, by: float) -> None:
        self._offset += by


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    return WallClock(monkeypatch)


async def cancel(id: str) -> None:
    raise AssertionError("it is finished")


def test_who_asks_the_wall_clock() -> None:
    clocks = {
        ("time", "time"),
        ("time", "time_ns"),
        ("datetime", "now"),
        ("datetime", "utcnow"),
        ("datetime", "today"),
        ("date", "today"),
    }
    assert {str(file) for file in FILES if clocks & source(file).attributes} == set(WALL)


@STEPS
async def test_newcomers_stand_behind_those_who_wait(
    wall: WallClock, tmp_path: Path, step: float
) -> None:
    arrivals: list[float] = []
    with director(tmp_path, welcome(), everybody(tmp_path)):
        async with await Client.connect(tmp_path) as client:
            for number in range(3):
                await client.submit(TextPrompt(f"Hello {number}"))
                (*_, entry) = client._ledger.live_ones()
                arrivals.append(entry.request.arrival)
                wall.set(step)
    policy = Scheduler(config())
    for number, arrival in enumerate(arrivals):
        policy.submit(prepared(f"r{number}", [1, 2, 3], arrival=arrival), 0.0)
    assert [seq.request.id for seq in policy.batch.waiting] == ["r0", "r1", "r2"]


@STEPS
async def test_a_deadline_comes_when_it_was_meant_to(
    wall: WallClock, tmp_path: Path, step: float
) -> None:
    with director(tmp_path, welcome(), everybody(tmp_path)):
        async with AsyncLLM(run_dir=tmp_path) as llm:
            params = SamplingParams(max_tokens=4)
            long = asyncio.create_task(
                llm.generate("Hello", params, deadline=time.time() + 2 * HOUR)
            )
            began = time.monotonic()
            short = asyncio.create_task(llm.generate("Hello", params, deadline=time.time() + 0.3))
            await asyncio.sleep(0)
            wall.set(step)
            with pytest.raises(RequestError) as late:
                async with asyncio.timeout(10):
                    await short
            assert late.value.failure.code == "deadline"
            assert time.monotonic() - began >= 0.29, "not before its time"
            assert not long.done(), "its time has not come"
            long.cancel()


@STEPS
@pytest.mark.parametrize("moment", ["before it waits", "while it waits"])
async def test_a_deadline_holds_while_it_waits_at_the_door(
    wall: WallClock, step: float, moment: str
) -> None:
    due = steady(time.time() + 0.2)
    if moment == "before it waits":
        wall.set(step)

    async def wait() -> None:
        async with asyncio.timeout(10), before(due):
            if moment == "while it waits":
                wall.set(step)
            await asyncio.Event().wait()

    began = time.monotonic()
    with pytest.raises(RequestError):
        await wait()
    assert time.monotonic() - began >= 0.15


def test_a_deadline_that_has_passed_has_passed() -> None:
    due = steady(time.time() - 5)
    assert due is not None
    assert due < time.monotonic()
    assert steady(None) is None


@STEPS
async def test_what_a_caller_reads_is_unix_time_and_as_long_as_it_took(
    wall: WallClock, step: float
) -> None:
    arrival = Moment.now()
    stream = Stream("r", cancel)
    reading = asyncio.create_task(collect(stream, "hello", 1, arrival))
    wall.set(step)
    timing = Timing("prefill", arrival.steady + 0.25, arrival.steady + 0.5, "3 tokens")
    stream.push(Delta("r", 0, 0, 0, 0, (5,), "a", (), "length"))
    stream.finish(Finished("r", 0, Usage(1, 0, {}, 0), 1, (timing,)))
    metrics = (await reading).metrics
    assert metrics.arrival == arrival.unix
    assert metrics.first_token is not None
    assert metrics.finished is not None
    assert arrival.unix <= metrics.first_token <= metrics.finished < arrival.unix + 60
    (told,) = metrics.timings
    assert told.start - metrics.arrival == pytest.approx(0.25)
    assert told.end - metrics.arrival == pytest.approx(0.5)
    assert (told.stage, told.detail) == ("prefill", "3 tokens")


@STEPS
def test_the_servers_histograms_measure_what_passed(wall: WallClock, step: float) -> None:
    seen: list[float] = []

    class Observed:
        def observe(self, seconds: float) -> None:
            seen.append(seconds)

    metrics: Any = type("Metrics", (), {"whole": Observed(), "first_token": Observed()})
    meter = CallMeter(metrics, time.monotonic(), Told())
    wall.set(step)
    meter.end([])
    assert 0 <= seen[0] < 60
