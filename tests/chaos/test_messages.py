"""Messages that come twice or late change nothing; those that are missing end in a restart or a resume, never in a hole."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from thespis import AsyncLLM, SamplingParams
from thespis.frontends.engine import EngineHandle, start_engine
from thespis.protocol.config import EngineConfig

from ..fakes.fake_runner import expected
from ..helpers.engines import FAKES

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]
STREAMS = 8
PARAMS = SamplingParams(max_tokens=120, ignore_eos=True, temperature=0.0)


@contextmanager
def faulty_engine(monkeypatch: pytest.MonkeyPatch, how: str, sender: str, receiver: str) -> Iterator[EngineHandle]:
    """Real actors around a runner without a model; what `sender` says to `receiver` meets the fault."""
    monkeypatch.setenv("FAULTY_HOW", how)
    monkeypatch.setenv("FAULTY_TO", receiver)
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.002")
    modules = {"gpu-runner": "fake_runner", "encoder-cache": "fake_encoder_cache", sender: "faulty"}
    with start_engine(EngineConfig(), modules=modules, python_path=[str(FAKES)]) as engine:
        yield engine


async def ask_all(llm: AsyncLLM) -> None:
    """Every stream has every token once, and its end."""

    async def ask(number: int) -> None:
        tokens: list[int] = []
        ends = []
        prompt = list(range(64, 70 + number))
        async for delta in llm.stream({"prompt_token_ids": prompt}, PARAMS):
            tokens.extend(delta.token_ids)
            ends += [delta.finish_reason] if delta.finish_reason else []
        assert tokens == expected(prompt, PARAMS, ())
        assert ends == ["length"]

    async with asyncio.timeout(60):
        await asyncio.gather(*(ask(number) for number in range(STREAMS)))


@pytest.mark.parametrize(
    ("how", "sender", "receiver", "restarted"),
    [
        ("twice", "gpu-runner", "scheduler", None),
        ("late", "gpu-runner", "scheduler", None),
        ("lost", "gpu-runner", "scheduler", "scheduler"),
        ("reordered", "gpu-runner", "scheduler", "scheduler"),
        ("twice", "detokenizer", "client", None),
        ("lost", "detokenizer", "client", None),
        ("reordered", "detokenizer", "client", None),
    ],
)
async def test_no_token_is_lost_or_repeated(
    monkeypatch: pytest.MonkeyPatch, how: str, sender: str, receiver: str, restarted: str | None
) -> None:
    with faulty_engine(monkeypatch, how, sender, receiver) as engine:
        async with AsyncLLM(run_dir=engine.run_dir) as llm:
            await ask_all(llm)
            restarts = (await llm.status()).restarts
            assert {role: count for role, count in restarts.items() if count} == ({restarted: 1} if restarted else {})
