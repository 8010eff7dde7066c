"""A flood: what is let in is answered whole, the rest is refused by its head, and afterwards all is
as before. And a server that is killed comes back."""

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator

import aiohttp
import pytest

from thespis import AsyncLLM
from thespis.frontends.cli.bench.overload import Pace, one_round
from thespis.frontends.cli.bench.overload.caller import Outcome, Tally, call

from ..helpers.serving import Server, served
from ..helpers.torchless import TORCHLESS

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]
PLACES = 4
BODY = b'{"prompt": [70, 71], "max_tokens": 25, "ignore_eos": true, "stream": true}'


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKE_STEP_SECONDS", "0.02")
        with served(modules=TORCHLESS, max_requests=PLACES, max_media_gb=1 / 64) as server:
            yield server


def asking(body: bytes, length: int | None = None) -> bytes:
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: "
        f"{len(body) if length is None else length}\r\n"
    )
    return head.encode() + b"Content-Type: application/json\r\n\r\n" + body


async def flood(server: Server, requests: list[bytes]) -> list[Outcome]:
    """All at once."""
    port, tally = int(server.url.rpartition(":")[2]), Tally()
    async with asyncio.timeout(60):
        return list(await asyncio.gather(*(call(port, data, tally) for data in requests)))


async def counters(server: Server) -> dict[str, float]:
    async with aiohttp.ClientSession(server.url) as http, http.get("/metrics") as response:
        text = re.sub(r'model_name="[^"]*",?', "", await response.text()).replace("{}", "")
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


async def test_who_is_let_in_is_answered_whole_and_the_rest_is_refused(server: Server) -> None:
    before = await counters(server)
    outcomes = await flood(server, [asking(BODY)] * 200)
    statuses = Counter(outcome.status for outcome in outcomes)
    assert statuses.keys() == {200, 429}
    assert statuses[200] >= PLACES
    assert all(outcome.whole for outcome in outcomes if outcome.status == 200)
    after = await counters(server)
    counts = "thespis_refusal_seconds_count"
    assert after[counts] - before.get(counts, 0.0) == statuses[429]
    counts = 'thespis_actor_prepared_total{role="preprocessor"}'
    assert after[counts] - before[counts] == statuses[200]
    assert after['thespis_restarts_total{role="http"}'] == 0
    (again,) = await flood(server, [asking(BODY)])
    assert again.whole


async def test_large_bodies_are_refused_while_they_have_not_come(server: Server) -> None:
    """A hundred callers announce 64 MiB each and send no more than the head: one is waited for, the
    others get their answer."""
    port, tally = int(server.url.rpartition(":")[2]), Tally()
    callers = [asyncio.create_task(call(port, asking(b"", 64 << 20), tally)) for _ in range(100)]
    async with asyncio.timeout(30):
        while sum(outcome.status == 429 for outcome in tally.outcomes) < 99:
            await asyncio.sleep(0.01)
    small = asyncio.create_task(call(port, asking(BODY), tally))
    async with asyncio.timeout(30):
        assert (await small).whole, "a small body goes past the large one"
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)


async def test_ten_times_what_it_carries_breaks_nothing(server: Server) -> None:
    """`thespis bench overload`, in small."""
    pace = Pace(ramp=0.1, measured=0.5, calm=0.1)
    pid = server.engine.process.pid
    report = await one_round(server.url, pid, [asking(BODY)], PLACES, pace, print)
    assert report.flood.count(429) > 0
    ratios = report.ratios()
    assert (ratios["broken"], ratios["restarts"]) == (0, 0)
    assert report.memory.keys() == {"before", "flood begins", "flood ends", "after"}
    assert min(report.memory.values()) > 10


async def in_flight(llm: AsyncLLM) -> float:
    stats = (await llm.status()).stats
    return stats["scheduler"]["running"] + stats["detokenizer"]["open_requests"]


async def test_a_killed_server_comes_back_on_the_same_port(server: Server) -> None:
    """Nobody else is replaced, and what it had in flight is ended by everybody."""
    async with AsyncLLM(run_dir=server.run_dir) as llm:
        before = (await llm.status()).pids
        long = asyncio.create_task(flood(server, [asking(BODY.replace(b"25", b"4000"))]))
        async with asyncio.timeout(20):
            while not await in_flight(llm):
                await asyncio.sleep(0.05)
        os.kill(before["http"], signal.SIGKILL)
        async with asyncio.timeout(20):
            while (after := (await llm.status()).pids).get("http") in (None, before["http"]):
                await asyncio.sleep(0.05)
            while await in_flight(llm):  # it would go on for 80 s
                await asyncio.sleep(0.05)
        assert not (await long)[0].whole
    (again,) = await flood(server, [asking(BODY)])
    assert again.whole, "whoever connects meanwhile is answered by the next"
    assert {**after, "http": 0} == {**before, "http": 0}
