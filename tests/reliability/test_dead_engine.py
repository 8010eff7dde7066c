"""When the engine is gone, everybody who waits for it is told, in the pipeline and at the door."""

import asyncio
import os
import signal

import pytest

from thespis import AsyncLLM, SamplingParams
from thespis.frontends.engine import start_engine
from thespis.protocol.config import EngineConfig
from thespis.protocol.errors import EngineError, RequestError

from ..helpers.engines import FAKES

pytestmark = [pytest.mark.process, pytest.mark.timeout(60)]
FAKE = {"gpu-runner": "fake_runner", "encoder-cache": "fake_encoder_cache", "decode-worker": "plain"}


async def test_who_runs_and_who_queues_at_the_door_hear_of_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STEP_SECONDS", "0.05")
    config = EngineConfig(max_requests=1)
    engine = await asyncio.to_thread(start_engine, config, modules=FAKE, python_path=[str(FAKES)])
    with engine:
        async with AsyncLLM(run_dir=engine.run_dir) as llm:
            params = SamplingParams(max_tokens=1000, temperature=0.0, ignore_eos=True)
            stream = llm.stream({"prompt_token_ids": [70, 71]}, params)
            await anext(stream)
            queued = [asyncio.create_task(llm.generate({"prompt_token_ids": [72, n]}, params)) for n in range(70, 73)]
            os.kill((await llm.status()).pids["director"], signal.SIGKILL)
            async with asyncio.timeout(20):
                answers = await asyncio.gather(*queued, return_exceptions=True)
                with pytest.raises(RequestError):
                    async for _ in stream:
                        pass
            assert [type(answer) for answer in answers] == [EngineError] * 3
