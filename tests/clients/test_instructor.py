"""instructor: answers of classes, whole and in parts, about a picture, with an error, and left
half way."""

from typing import Any

import instructor
import openai
import pytest

from . import asked
from .asked import MODEL, QUESTION, Forecast, Weather

MESSAGES: Any = [{"role": "user", "content": "What is the weather?"}]
MOST = 400


@pytest.fixture
def api(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0)


@pytest.mark.parametrize("mode", [instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA])
def test_instructor(api: openai.OpenAI, mode: instructor.Mode) -> None:
    client = instructor.from_openai(api, mode=mode)
    answer = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, response_model=Forecast, max_retries=0, max_tokens=MOST
    )
    assert isinstance(answer, Forecast)


async def test_a_picture_parts_errors_and_left_half_way(url: str, api: openai.OpenAI) -> None:
    client = instructor.from_openai(api, mode=instructor.Mode.JSON_SCHEMA)
    picture = instructor.Image.from_path(str(asked.PICTURE))
    given: Any = {
        "model": MODEL,
        "messages": [{"role": "user", "content": [QUESTION, picture]}],
        "max_tokens": 400,
        "max_retries": 0,
    }
    answer = client.chat.completions.create(**given, response_model=Weather)
    assert isinstance(answer, Weather)
    parts = list(client.chat.completions.create_partial(**given, response_model=Weather))
    assert parts[-1].city in ("Oslo", "Rome")
    with pytest.raises(Exception, match=r"messages\[0\]|422"):
        client.chat.completions.create(
            **{**given, "messages": asked.BROKEN}, response_model=Weather
        )
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as later:
        waiting: Any = instructor.from_openai(later, mode=instructor.Mode.JSON_SCHEMA)
        left = waiting.chat.completions.create_partial(**given, response_model=Weather)
        async for _ in left:
            break
        await left.aclose()
    await asked.ends(url)
