"""`bench overload`: its requests, its loads against a server of a few lines, and its verdict.

A whole engine is flooded in `tests/reliability/test_overload.py`.
"""

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from thespis.frontends.cli.bench import overload
from thespis.frontends.cli.bench.overload.caller import Outcome, Tally
from thespis.frontends.cli.bench.overload.phases import Phase, closed, opened
from thespis.frontends.cli.bench.overload.refusals import Refusals
from thespis.frontends.cli.bench.overload.report import Report, Summary
from thespis.frontends.cli.bench.overload.requests import DISTINCT, make_requests
from thespis.frontends.cli.main import build_parser
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.errors import EngineError

from ...openai.fake import FakeClient, served

WHOLE = b"HTTP/1.1 200 OK\r\n\r\ndata: {}\n\ndata: [DONE]\n\n"
REFUSED = b"HTTP/1.1 429 Too Many Requests\r\n\r\n"


@asynccontextmanager
async def answering(*answers: bytes, pause: float = 0.0) -> AsyncIterator[int]:
    """A server that gives these in turn, for ever; its port."""
    turns = itertools.cycle(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = next(turns)
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(pause)
        writer.write(turn)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def phase(seconds: float, whole: int, refused: int = 0, broken: int = 0) -> Phase:
    """One second, in which so many answers took `seconds` each."""
    answered = [Outcome(10.0, 200, 10.0 + seconds, True) for _ in range(whole)]
    others = [Outcome(10.0, 429, 10.0)] * refused + [Outcome(10.0, 200, 10.0)] * broken
    return Phase(Tally(answered + others), 10.0, 11.0)


def report(after: Phase | None = None, memory: float = 500.0, restarts: int = 0) -> Report:
    refusals = Refusals({0.02: 96.0, float("inf"): 100.0}, restarts)
    moments = dict.fromkeys(("before", "flood begins", "flood ends"), 500.0) | {"after": memory}
    return Report(
        20.0, phase(0.5, 20), phase(0.7, 19, 100), after or phase(0.5, 20), refusals, moments
    )


def test_half_of_the_requests_are_text_and_the_same_seed_makes_the_same() -> None:
    requests = make_requests(3, 16, "tiny")
    assert requests == make_requests(3, 16, "tiny") != make_requests(4, 16, "tiny")
    assert len({*requests}) == DISTINCT
    kinds = []
    for request in requests:
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        (message,) = json.loads(body)["messages"]
        kinds.append([part["type"] for part in message["content"]][1:])
    assert kinds.count([]) == DISTINCT // 2
    assert (kinds.count(["image_url"]), kinds.count(["input_audio"])) == (18, 6)


async def test_a_closed_loop_counts_whole_answers() -> None:
    async with answering(WHOLE, pause=0.01) as port:
        found = await closed(port, [b"GET / HTTP/1.1\r\n\r\n"], 2, 0.05, 0.2)
    assert 0 < found.goodput <= 200
    assert found.broken == 0
    assert found.latencies[0] >= 0.01


async def test_an_open_load_offers_its_rate_whatever_comes_back() -> None:
    noted: list[float] = []

    async def during() -> None:
        noted.append(time.monotonic())

    async with answering(WHOLE, REFUSED, b"") as port:
        found, rest = await opened(port, [b"GET / HTTP/1.1\r\n\r\n"], 100.0, 0.1, 0.305, during)
        await rest
    assert found.offered > 0
    assert noted[0] > found.start - 0.02, "about then: it begins with the request that is due"
    assert len(found.tally.outcomes) == 41
    assert (found.count(429), found.broken) == (14, 13)


async def test_only_what_the_model_takes_is_put_again() -> None:
    said: list[str] = []
    one, two = b"GET /1 HTTP/1.1\r\n\r\n", b"GET /2 HTTP/1.1\r\n\r\n"
    async with answering(WHOLE, b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert await overload.answered(port, [one, two], said.append) == [one]
    assert said == ["of 2 requests this model refuses 1 with 400"]
    async with answering(REFUSED) as port:
        with pytest.raises(EngineError, match="none of the requests"):
            await overload.answered(port, [one], said.append)


def test_what_is_promised_must_hold_for_the_median_of_the_rounds() -> None:
    slow = report(after=phase(0.5, 10), memory=600.0)
    assert Summary([report()]).good
    assert Summary([report(), slow, report()]).good
    whole = Summary([slow])
    assert whole.missed == ["answered 5 s after, of before", "memory after, of before"]
    assert "| memory after, of before | 1.20 | <= 1.05 | MISSED |" in whole.tables()
    assert "| 10x | 119.0 | 19.0 | 0.95 | 0.70 | 0.70 | 100 | 0 |" in whole.tables()
    assert json.loads(json.dumps(whole.as_dict()))["rounds"][0]["phases"]["10x"]["refused"] == 100


def test_a_broken_answer_and_a_restart_are_misses_and_nothing_divides_by_zero() -> None:
    nothing = report(after=phase(0.5, 0, broken=2), restarts=1)
    assert {"broken", "restarts"} < {*Summary([nothing]).missed}
    nothing.before = nothing.flood = phase(0.5, 0)
    assert "answered at 10x, of 1x" in Summary([nothing]).missed


def test_quantiles_are_read_between_the_bounds() -> None:
    some = Refusals({0.001: 50.0, 0.01: 100.0, float("inf"): 100.0}, 2)
    assert (some.count, some.share_within(0.001)) == (100, 0.5)
    assert some.quantile(0.25) == pytest.approx(0.0005)
    assert some.quantile(0.75) == pytest.approx(0.0055)
    assert some.since(Refusals({0.001: 50.0, 0.01: 50.0, float("inf"): 50.0}, 1)).below[0.01] == 50
    assert Refusals({}, 0).quantile(0.5) == 0
    assert Refusals({1.0: 0.0, float("inf"): 3.0}, 0).quantile(0.9) == 1.0


def given(*words: str) -> argparse.Namespace:
    return build_parser("bench").parse_args(["bench", "overload", *words])


async def test_each_round_is_of_what_the_model_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    async def one_round(url: str, director: int, requests: list[bytes], *_: Any) -> Report:
        seen.append((director, len(requests)))
        return report()

    monkeypatch.setattr(overload, "one_round", one_round)
    async with served(FakeClient()) as url:
        whole = await overload.measure(url, 7, given("--rounds", "2"), overload.Pace(), print)
    assert whole.good
    assert {count for _, count in seen} <= {24, 42, 48}, "texts, at least"
    assert [director for director, _ in seen] == [7, 7]


@pytest.mark.parametrize("restarts", [0, 1])
def test_the_command_prints_tables_or_json_and_its_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], restarts: int
) -> None:
    started: list[EngineConfig] = []

    def serving(engine: EngineConfig, server: Any) -> Any:
        started.append(engine)
        return nullcontext(SimpleNamespace(url="http://127.0.0.1:1", director=1))

    async def measure(*_: Any) -> Summary:
        return Summary([report(restarts=restarts)])

    monkeypatch.setattr(overload, "serving", serving)
    monkeypatch.setattr(overload, "measure", measure)
    assert overload.run(given()) == restarts
    assert "| restarts | " in capsys.readouterr().out
    assert overload.run(given("--json", "--mm-processor-cache-gb", "2")) == restarts
    assert json.loads(capsys.readouterr().out)["missed"] == ["restarts"] * restarts
    assert [engine.mm_processor_cache_gb for engine in started] == [0, 2]
