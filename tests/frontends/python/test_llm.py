"""`LLM`'s batches over a client without an engine."""

import asyncio
from functools import partial
from typing import Any

import pytest

from thespis import SamplingParams
from thespis.frontends.inputs.prompts import read_prompt
from thespis.frontends.inputs.submission import Submission
from thespis.frontends.python.llm import _collect, _run_all
from thespis.protocol.errors import Failure, RequestError

from ..openai.fake import FakeClient


def refuse() -> Submission:
    raise RequestError(Failure("invalid_request", "No."))


async def test_a_prompt_that_cannot_be_read_ends_those_before_it() -> None:
    """They are submitted already, but the tasks that read their answers have not run yet."""
    client = FakeClient()

    async def room(nbytes: int, deadline: float | None) -> None: ...

    client.room = room  # type: ignore[assignment]
    client.pace = 10.0
    readers = [partial(read_prompt, "one"), partial(read_prompt, "two"), refuse]
    asked: list[Any] = [client, readers, [SamplingParams()] * 3, [0] * 3, False]
    run_all: Any = _run_all
    with pytest.raises(RequestError, match="No"):
        await run_all(*asked, _collect)
    assert sorted(client.cancelled) == ["r1", "r2"]
    for task in client._tasks:
        task.cancel()
    await asyncio.gather(*client._tasks, return_exceptions=True)
