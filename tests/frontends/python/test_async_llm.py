"""What `AsyncLLM` refuses before an engine is asked."""

from typing import Any

import pytest

from thespis import AsyncLLM, RequestError, SamplingParams
from thespis.protocol.errors import EngineError


async def test_what_a_stream_cannot_give_is_refused_and_not_dropped() -> None:
    """As over HTTP: pieces of an answer have no place for the prompt's log-probabilities."""
    llm: Any = object.__new__(AsyncLLM)
    with pytest.raises(RequestError, match="not available in a stream") as refused:
        async for _ in llm.stream("x", SamplingParams(prompt_logprobs=1)):
            pass
    assert refused.value.failure.part == "prompt_logprobs"


async def test_before_the_start_and_after_the_end_it_says_what_to_do() -> None:
    llm = AsyncLLM(run_dir="/nowhere")
    for told in (r"is not started: use `async with", r"was closed: `await llm\.start\(\)`"):
        for ask in (llm.generate("Hi"), llm.status(), llm.reset_mm_cache()):
            with pytest.raises(EngineError, match=told):
                await ask
        await llm.close()
