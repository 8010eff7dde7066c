"""What `AsyncLLM` refuses before an engine is asked."""

from typing import Any

import pytest

from thespis import AsyncLLM, RequestError, SamplingParams


async def test_what_a_stream_cannot_give_is_refused_and_not_dropped() -> None:
    """As over HTTP: pieces of an answer have no place for the prompt's log-probabilities."""
    llm: Any = object.__new__(AsyncLLM)
    with pytest.raises(RequestError, match="not available in a stream") as refused:
        async for _ in llm.stream("x", SamplingParams(prompt_logprobs=1)):
            pass
    assert refused.value.failure.part == "prompt_logprobs"
