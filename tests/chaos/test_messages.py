"""Messages that come twice or late change nothing; those that are missing end in a restart or a
resume, never in a hole.

Which message meets which fault is drawn from a seed, which every test's name tells: the variable
CHAOS_SEED.
"""

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
import pytest

from thespis import AsyncLLM, SamplingParams
from thespis.actors.kernel import peers
from thespis.frontends.engine import EngineHandle, start_engine
from thespis.protocol.config.engine import EngineConfig

from ..fakes.fake_runner import expected
from ..fakes.faulty import Fault, How, faulty
from ..helpers.torchless import TORCHLESS, played_by
from ..spec.web import Site

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]
SEED = int(os.environ.get("CHAOS_SEED", "1"))
STREAMS = 8
PARAMS = SamplingParams(max_tokens=80, ignore_eos=True, temperature=0.0)
SHOWING = {"gpu-runner": "fake_runner", "encoder-cache": "forgetful_encoder"}
HARMLESS: tuple[How, ...] = ("twice", "late")
HARMFUL: tuple[How, ...] = ("lost", "reordered")


class Edge(NamedTuple):
    sender: str
    receiver: str
    last: int
    """After this message another one surely comes, which shows that it is missing."""
    shows: bool = False
    """It is used where requests show pictures; the decode worker, which is the real one, takes
    seconds to start."""

    def __str__(self) -> str:
        return f"{self.sender}-to-{self.receiver}"


EDGES = (
    Edge("client", "scheduler", STREAMS - 2),
    Edge("fetcher", "preprocessor", STREAMS - 2, shows=True),
    Edge("preprocessor", "scheduler", STREAMS - 2),
    Edge("scheduler", "client", STREAMS - 2, shows=True),
    Edge("scheduler", "detokenizer", 60),
    Edge("gpu-runner", "scheduler", 60),
    Edge("detokenizer", "client", 60),
)


def drawn() -> list[object]:
    """The cases: an edge and what befalls it; one harmless and one harmful fault where an engine
    costs little."""
    draw, cases = random.Random(SEED), list[object]()
    for edge in EDGES:
        for kinds in [HARMLESS + HARMFUL] if edge.shows else [HARMLESS, HARMFUL]:
            fault = Fault(draw.choice(kinds), edge.receiver, draw.randint(0, edge.last))
            cases.append(
                pytest.param(edge, fault, id=f"{edge}-{fault.first}-{fault.how}-seed-{SEED}")
            )
    return cases


@contextmanager
def faulty_engine(
    monkeypatch: pytest.MonkeyPatch, edge: Edge, fault: Fault
) -> Iterator[EngineHandle]:
    """Real actors around a runner without a model; what `sender` says to `receiver` meets the
    fault."""
    monkeypatch.setenv("FAULTY", msgspec.json.encode(fault).decode())
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.002")
    modules = dict(SHOWING if edge.shows else TORCHLESS)
    if edge.sender == "client":
        monkeypatch.setattr(peers, "Outgoing", faulty(fault))
    else:
        modules[edge.sender] = "faulty"
    config = EngineConfig(allow_private_media=True)
    with start_engine(config, **played_by(modules)) as engine:
        yield engine


async def ask_all(llm: AsyncLLM, begun: list[asyncio.Event]) -> None:
    """Every stream has every token once, and its end."""

    async def ask(number: int) -> None:
        tokens: list[int] = []
        ends = []
        prompt = list(range(64, 70 + number))
        async for delta in llm.stream({"prompt_token_ids": prompt}, PARAMS):
            tokens.extend(delta.token_ids)
            ends += [delta.finish_reason] if delta.finish_reason else []
            begun[number].set()
        assert tokens == expected(prompt, PARAMS, ())
        assert ends == ["length"]

    async with asyncio.timeout(60):
        await asyncio.gather(*(ask(number) for number in range(STREAMS)))


async def show_all(llm: AsyncLLM, site: Site) -> None:
    """The same of requests with pictures that are downloaded."""

    async def show(number: int) -> None:
        url = {"url": site.url(f"/picture-{number}.png", "127.0.0.1")}
        content = [{"type": "image_url", "image_url": url}, {"type": "text", "text": "what?"}]
        output = await llm.chat([{"role": "user", "content": content}], PARAMS)
        assert output.outputs[0].token_ids == expected(output.prompt_token_ids, PARAMS, ())
        assert output.outputs[0].finish_reason == "length"

    async with asyncio.timeout(60):
        await asyncio.gather(*(show(number) for number in range(STREAMS)))


@pytest.mark.parametrize(("edge", "fault"), drawn())
async def test_no_token_is_lost_or_repeated(
    monkeypatch: pytest.MonkeyPatch, edge: Edge, fault: Fault
) -> None:
    restarted: dict[str, int] = {}
    with faulty_engine(monkeypatch, edge, fault) as engine, Site() as site:
        async with AsyncLLM(run_dir=engine.run_dir) as llm:
            begun = [asyncio.Event() for _ in range(STREAMS)]
            asking = asyncio.create_task(show_all(llm, site) if edge.shows else ask_all(llm, begun))
            if edge.sender == "client":  # it writes to the scheduler when it resumes
                await asyncio.gather(*(event.wait() for event in begun))
                os.kill((await llm.status()).pids["scheduler"], signal.SIGKILL)
                restarted["scheduler"] = 1
            await asking
            if fault.how in HARMFUL and edge.receiver != "client":
                restarted[edge.receiver] = restarted.get(edge.receiver, 0) + 1
            restarts = (await llm.status()).restarts
            assert {role: count for role, count in restarts.items() if count} == restarted
