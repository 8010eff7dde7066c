"""The whole engine without torch: real actors around a fake runner, from the face to the last
token, in seconds."""

import asyncio
from pathlib import Path

import pytest

from thespis import AsyncLLM, SamplingParams
from thespis.frontends.engine import start_engine
from thespis.protocol.config.engine import EngineConfig

from ..fakes.fake_runner import expected
from ..helpers.engines import cast_of
from ..helpers.torchless import TORCHLESS

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(60),
    pytest.mark.usefixtures("started_as_shipped"),
]


def maps(pid: int) -> str:
    """What a process has mapped."""
    return Path(f"/proc/{pid}/maps").read_text()


async def test_text_goes_through_the_whole_engine_and_no_process_has_torch() -> None:
    engine = await asyncio.to_thread(start_engine, EngineConfig(), cast=cast_of(TORCHLESS))
    with engine:
        async with AsyncLLM(run_dir=engine.run_dir) as llm:
            params = SamplingParams(max_tokens=40, temperature=0.0, n=2, ignore_eos=True)
            prompts = [[70, 71, 72 + number] for number in range(12)]
            outputs = await asyncio.gather(
                *(llm.generate({"prompt_token_ids": prompt}, params) for prompt in prompts)
            )
            status = await llm.status()
            assert "zygote" not in status.pids
            assert not [role for role, pid in status.pids.items() if "libtorch" in maps(pid)]
    for prompt, output in zip(prompts, outputs, strict=True):
        assert [o.token_ids for o in output.outputs] == [
            expected(prompt, params, (), choice) for choice in range(2)
        ]
