"""When the engine is gone, everybody who waits for it is told, in the pipeline and at the door."""

import asyncio
import json
import os
import signal
from typing import Any

import aiohttp
import pytest

from thespis import AsyncLLM, SamplingParams
from thespis.actors.director.supervisor import RESTARTS
from thespis.frontends.engine import start_engine
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.errors import EngineError, RequestError

from ..helpers.engines import assert_nothing_left
from ..helpers.serving import served
from ..helpers.torchless import TORCHLESS, played_by

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]


async def test_who_runs_and_who_queues_at_the_door_hear_of_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.05")
    config = EngineConfig(max_requests=1)
    engine = await asyncio.to_thread(start_engine, config, **played_by(TORCHLESS))
    with engine:
        async with AsyncLLM(run_dir=engine.run_dir) as llm:
            params = SamplingParams(max_tokens=1000, temperature=0.0, ignore_eos=True)
            stream = llm.stream({"prompt_token_ids": [70, 71]}, params)
            await anext(stream)
            queued = [
                asyncio.create_task(llm.generate({"prompt_token_ids": [72, n]}, params))
                for n in range(70, 73)
            ]
            os.kill((await llm.status()).pids["director"], signal.SIGKILL)
            async with asyncio.timeout(20):
                answers = await asyncio.gather(*queued, return_exceptions=True)
                with pytest.raises(RequestError):
                    async for _ in stream:
                        pass
            assert [type(answer) for answer in answers] == [EngineError] * 3


async def last_event(response: aiohttp.ClientResponse) -> Any:
    """Of a stream, before its [DONE]."""
    events = [line async for line in response.content if line.startswith(b"data: ")]
    assert events[-1].strip() == b"data: [DONE]"
    return json.loads(events[-2].removeprefix(b"data: "))


@pytest.mark.parametrize("role", ["scheduler", "detokenizer"])
async def test_a_role_that_ends_again_and_again_ends_the_engine_for_all_who_wait(
    monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.05")
    params = SamplingParams(max_tokens=3000, temperature=0.0, ignore_eos=True)
    body = {
        "messages": [{"role": "user", "content": "go on"}],
        "max_tokens": 3000,
        "ignore_eos": True,
        "stream": True,
    }
    with served(modules=TORCHLESS) as server:
        process = server.engine.process
        async with (
            AsyncLLM(run_dir=server.run_dir) as llm,
            aiohttp.ClientSession(server.url) as http,
        ):
            streams = [llm.stream({"prompt_token_ids": [70, 71, n]}, params) for n in range(70, 74)]
            for stream in streams:
                await anext(stream)
            response = await http.post("/v1/chat/completions", json=body)
            await response.content.readline()
            for death in range(RESTARTS + 1):
                while (status := await llm.status()).restarts[role] < death or not status.ready:
                    await asyncio.sleep(0.02)
                os.kill(status.pids[role], signal.SIGKILL)
            async with asyncio.timeout(30):
                event = await last_event(response)
                for stream in streams:
                    with pytest.raises(RequestError) as end:
                        async for _ in stream:
                            pass
                    assert end.value.failure.code == "engine_dead"
                with pytest.raises(EngineError, match=f"{role} ended again and again"):
                    await llm.generate("is anybody there?", params)
                assert event["error"]["code"] == "engine_dead"
                assert await asyncio.to_thread(process.wait) != 0
            assert llm._client is not None
            assert not any(llm._client.counters().values())
        assert_nothing_left(process.pid, server.run_dir)
