"""A process whose handler hangs is replaced like one that is stopped, though its heartbeats have a
thread of their own."""

import asyncio

import pytest

from thespis import AsyncLLM, SamplingParams
from thespis.frontends.engine import start_engine
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.errors import RequestError

from ..fakes.fake_runner import expected
from ..helpers.torchless import TORCHLESS, played_by

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]
HANGS_AT = 89
"""As in the fake."""


async def test_what_hangs_the_runner_each_time_is_refused_and_its_neighbour_goes_on() -> None:
    modules = {**TORCHLESS, "gpu-runner": "hanging_runner"}
    config = EngineConfig(lease_seconds=1.0)
    engine = await asyncio.to_thread(start_engine, config, **played_by(modules))
    params = SamplingParams(max_tokens=200, temperature=0, ignore_eos=True)
    with engine:
        async with AsyncLLM(run_dir=engine.run_dir) as llm, asyncio.timeout(60):
            neighbour = asyncio.create_task(llm.generate({"prompt_token_ids": [70, 71]}, params))
            with pytest.raises(RequestError) as refused:
                await llm.generate({"prompt_token_ids": [70, HANGS_AT]}, params)
            assert refused.value.failure.code == "poison"
            assert (await neighbour).outputs[0].token_ids == expected([70, 71], params, ())
            assert (await llm.status()).restarts["gpu-runner"] >= 2
