"""Callers leave at any moment while processes are killed: what they have is right so far, and
nothing is held in the end.

Around a runner without a model, so that there are many of them. The seed decides: CHAOS_SEED is
another one.
"""

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest

from thespis import AsyncLLM, SamplingParams
from thespis.protocol.errors import RequestError
from thespis.scripts.stress.chaos.faults import Fault, Pace
from thespis.scripts.stress.holding import held

from ..fakes.fake_runner import expected
from ..helpers.media import data_url, picture, png
from ..helpers.serving import served
from ..spec.web import Site

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]
SEED = int(os.environ.get("CHAOS_SEED", "1"))
STREAMS = 32
TOKENS = 80
PICTURES = 3
"""So few that requests share them."""
STAY_SECONDS = 1.0
KILLS = 8
PAUSE_SECONDS = (0.0, 1.0)
"""Between kills, whether the engine is whole again or not."""
ROLES = (
    "fetcher",
    "preprocessor",
    "decode-worker-0",
    "encoder-cache",
    "scheduler",
    "gpu-runner",
    "detokenizer",
)
FREE_SECONDS = 15.0


class Crowd:
    """Callers of both faces who ask, and leave or stay."""

    def __init__(
        self, llm: AsyncLLM, http: aiohttp.ClientSession, site: Site, draw: random.Random
    ) -> None:
        self.llm, self.http, self.site, self.draw = llm, http, site, draw
        self.stopping = False
        self.ends: dict[str, int] = {"whole": 0, "deadline": 0, "left": 0}

    def prompt(self) -> Any:
        """Text, or a picture by URL or inline."""
        number = self.draw.randrange(PICTURES)
        url = self.draw.choice(
            (
                None,
                self.site.url(f"/picture-{number}.png", "127.0.0.1"),
                data_url("image/png", png(picture(number))),
            )
        )
        if url is None:
            return {"prompt_token_ids": [64 + self.draw.randrange(26) for _ in range(10)]}
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": f"{self.draw.random()}?"},
        ]
        return [{"role": "user", "content": content}]

    async def ask(self) -> None:
        """One request to its end, whichever that is."""
        prompt, params = (
            self.prompt(),
            SamplingParams(max_tokens=TOKENS, temperature=0.0, ignore_eos=True),
        )
        way, stay = (
            self.draw.choice(("staying", "going", "deadline")),
            self.draw.uniform(0.0, STAY_SECONDS),
        )
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
                    end, ids, tokens = (
                        "whole",
                        output.prompt_token_ids,
                        list(output.outputs[0].token_ids),
                    )
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

    async def ask_http(self) -> None:
        """The same over HTTP, where callers hang up."""
        way, stay = self.draw.choice(("staying", "going")), self.draw.uniform(0.0, STAY_SECONDS)
        prompt = self.prompt()
        messages = (
            [{"role": "user", "content": f"{self.draw.random()}?"}]
            if isinstance(prompt, Mapping)
            else prompt
        )
        body = {
            "messages": messages,
            "max_tokens": TOKENS,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
        }
        tokens: list[int] = []
        asked: list[int] = []
        try:
            async with (
                asyncio.timeout(stay if way == "going" else None),
                self.http.post(
                    "/v1/chat/completions", json=body | {"return_token_ids": True}
                ) as response,
            ):
                async for line in response.content:
                    if not line.startswith(b"data: {"):
                        continue
                    event = json.loads(line.removeprefix(b"data: "))
                    asked = asked or event.get("prompt_token_ids") or []
                    tokens += event["choices"][0].get("token_ids") or []
            assert len(tokens) == TOKENS
            self.ends["whole"] += 1
        except TimeoutError:
            self.ends["left"] += 1
        want = expected(
            asked, SamplingParams(max_tokens=TOKENS, temperature=0.0, ignore_eos=True), ()
        )
        assert not tokens or tokens == want[: len(tokens)]

    async def stand(self, ask: Callable[[], Awaitable[None]]) -> None:
        while not self.stopping:
            await ask()


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
        left = held(status.stats) | {
            name: value for name, value in llm._client.counters().items() if value
        }
        if (status.ready and not left) or time.monotonic() > deadline:
            return left
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("seed", [SEED])
async def test_nothing_is_held_and_nobody_is_told_anything_wrong(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.005")
    draw, modules = random.Random(seed), {"gpu-runner": "fake_runner"}
    with (
        served(
            modules=modules, allow_private_media=True, mm_processor_cache_gb=0.0, encoder_threads=1
        ) as server,
        Site() as site,
    ):
        async with (
            AsyncLLM(run_dir=server.run_dir) as llm,
            aiohttp.ClientSession(server.url) as http,
        ):
            crowd = Crowd(llm, http, site, draw)
            asks = [crowd.ask, crowd.ask_http] * (STREAMS // 2)
            callers = [asyncio.create_task(crowd.stand(ask)) for ask in asks]
            killed = await kill_some(llm, draw)
            crowd.stopping = True
            async with asyncio.timeout(60):
                await asyncio.gather(*callers)
            assert await until_free(llm) == {}
            restarts = (await llm.status()).restarts
            assert {role: restarts[role] for role in killed} == killed
    assert min(crowd.ends.values()) > 0, crowd.ends
