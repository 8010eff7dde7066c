"""Callers leave at any moment while processes are killed: what they have is right so far, and nothing is held in the end.

Around a runner without a model, so that there are many of them. The seed decides: CHAOS_SEED is another one.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import Mapping
from typing import Any

import pytest

from thespis import AsyncLLM, SamplingParams
from thespis.frontends.engine import start_engine
from thespis.protocol.config import EngineConfig
from thespis.protocol.errors import RequestError
from thespis.scripts.chaos_run.faults import Fault, Pace
from thespis.scripts.chaos_run.holding import held

from ..fakes.fake_runner import expected
from ..helpers.engines import FAKES
from ..helpers.media import data_url, picture, png
from ..spec.web import Site

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]
SEED = int(os.environ.get("CHAOS_SEED", "1"))
STREAMS = 32
TOKENS = 80
PICTURES = 3
"""So few that requests share them."""
STAY_SECONDS = 1.0
KILLS = 12
PAUSE_SECONDS = (0.0, 1.0)
"""Between kills, whether the engine is whole again or not."""
ROLES = ("fetcher", "preprocessor", "decode-worker-0", "encoder-cache", "scheduler", "gpu-runner", "detokenizer")
FREE_SECONDS = 15.0


class Crowd:
    """Callers who ask, and leave or stay."""

    def __init__(self, llm: AsyncLLM, site: Site, draw: random.Random) -> None:
        self.llm, self.site, self.draw = llm, site, draw
        self.stopping = False
        self.ends: dict[str, int] = {"whole": 0, "deadline": 0, "left": 0}

    def prompt(self) -> Any:
        """Text, or a picture by URL or inline."""
        number = self.draw.randrange(PICTURES)
        url = self.draw.choice(
            (None, self.site.url(f"/picture-{number}.png", "127.0.0.1"), data_url("image/png", png(picture(number))))
        )
        if url is None:
            return {"prompt_token_ids": [64 + self.draw.randrange(26) for _ in range(10)]}
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": f"{self.draw.random()}?"}]
        return [{"role": "user", "content": content}]

    async def ask(self) -> None:
        """One request to its end, whichever that is."""
        prompt, params = self.prompt(), SamplingParams(max_tokens=TOKENS, temperature=0.0, ignore_eos=True)
        way, stay = self.draw.choice(("staying", "going", "deadline")), self.draw.uniform(0.0, STAY_SECONDS)
        tokens: list[int] = []
        try:
            async with asyncio.timeout(stay if way == "going" else None):
                if isinstance(prompt, Mapping):
                    deadline = time.time() + stay if way == "deadline" else None
                    async for delta in self.llm.stream(prompt, params, deadline=deadline):
                        tokens += delta.token_ids
                    end, ids = "whole", prompt["prompt_token_ids"]
                else:
                    output = await self.llm.chat(prompt, params)
                    end, ids, tokens = "whole", output.prompt_token_ids, list(output.outputs[0].token_ids)
        except TimeoutError:
            end = "left"
        except RequestError as error:
            if way != "deadline" or error.failure.code != "deadline":
                raise
            end = "deadline"
        if end == "whole" or isinstance(prompt, Mapping):
            want = expected(ids if end == "whole" else prompt["prompt_token_ids"], params, ())
            assert tokens == (want if end == "whole" else want[: len(tokens)])
        self.ends[end] += 1

    async def stand(self) -> None:
        while not self.stopping:
            await self.ask()


async def kill_some(llm: AsyncLLM, draw: random.Random) -> dict[str, int]:
    """How often each was killed."""
    pace, killed = Pace(), dict.fromkeys(ROLES, 0)
    while sum(killed.values()) < KILLS:
        await asyncio.sleep(draw.uniform(*PAUSE_SECONDS))
        role = draw.choice(ROLES)
        status, fault = await llm.status(), Fault("kill", (role,))
        if status.roles[role] == "ready" and not pace.wait(fault, time.monotonic()):
            pace.note(fault, time.monotonic())
            os.kill(status.pids[role], signal.SIGKILL)
            killed[role] += 1
    return killed


async def until_free(llm: AsyncLLM) -> dict[str, float]:
    """What is still held after so long."""
    deadline = time.monotonic() + FREE_SECONDS
    while True:
        status = await llm.status()
        assert llm._client is not None
        left = held(status.stats) | {name: value for name, value in llm._client.counters().items() if value}
        if (status.ready and not left) or time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("seed", [SEED])
async def test_nothing_is_held_and_nobody_is_told_anything_wrong(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.005")
    config = EngineConfig(allow_private_media=True, mm_processor_cache_gb=0.0, encoder_threads=1)
    engine = await asyncio.to_thread(start_engine, config, modules={"gpu-runner": "fake_runner"}, python_path=[str(FAKES)])
    draw = random.Random(seed)
    with engine, Site() as site:
        async with AsyncLLM(run_dir=engine.run_dir) as llm:
            crowd = Crowd(llm, site, draw)
            callers = [asyncio.create_task(crowd.stand()) for _ in range(STREAMS)]
            killed = await kill_some(llm, draw)
            crowd.stopping = True
            async with asyncio.timeout(60):
                await asyncio.gather(*callers)
            assert await until_free(llm) == {}
            restarts = (await llm.status()).restarts
            assert {role: restarts[role] for role in killed} == killed
    assert min(crowd.ends.values()) > 0, crowd.ends
