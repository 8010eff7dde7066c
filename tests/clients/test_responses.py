"""Clients of /v1/responses, each as its manual has it: a picture, a stream, a tool and its result,
a conversation that goes on, an answer of a class, an error, and a stream that is left."""

from typing import Any, Literal

import openai
import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from . import asked
from .asked import ANSWER, DATA, MODEL, QUESTION, Weather

PARTS: Any = [
    {"type": "input_image", "image_url": DATA, "detail": "auto"},
    {"type": "input_text", "text": QUESTION},
]
SEEN: Any = [{"role": "user", "content": PARTS}]
ASKED: Any = {"model": MODEL, "temperature": 0, "max_output_tokens": 400}
TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"enum": ["Oslo", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


# openai


@pytest.fixture
def api(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0)


def test_openai(api: openai.OpenAI) -> None:
    first = api.responses.create(**ASKED, input=SEEN)
    assert (first.output_text, first.status) == (ANSWER, "completed")
    with api.responses.stream(**ASKED, input=SEEN) as stream:
        told = [event.delta for event in stream if event.type == "response.output_text.delta"]
        assert stream.get_final_response().output_text == "".join(told) == ANSWER
    second = api.responses.create(**ASKED, input=QUESTION, previous_response_id=first.id)
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens
    assert api.responses.retrieve(second.id).output_text == second.output_text
    counted = api.responses.input_tokens.count(model=MODEL, input=SEEN)
    assert counted.input_tokens == first.usage.input_tokens
    parsed = api.responses.parse(**ASKED, input=QUESTION, text_format=Weather)
    assert isinstance(parsed.output_parsed, Weather)
    api.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        api.responses.retrieve(second.id)


def test_openai_is_told_where_an_error_is(api: openai.OpenAI) -> None:
    without: Any = [{"role": "user", "content": [{"type": "input_image"}]}]
    with pytest.raises(openai.BadRequestError) as raised:
        api.responses.create(**ASKED, input=without)
    assert raised.value.param == "input[0].content[0].image_url"
    for stream in (False, True):
        with pytest.raises(openai.NotFoundError):
            api.responses.create(model="gpt", input=QUESTION, stream=stream)


def test_openai_goes_on_with_pictures_from_tools(api: openai.OpenAI) -> None:
    forced: Any = {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}
    with api.responses.stream(**ASKED, **forced, input=QUESTION) as stream:
        response = stream.get_final_response()
    (call,) = response.output
    assert call.type == "function_call"
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": PARTS}
    again = api.responses.create(**ASKED, input=[result], previous_response_id=response.id)
    assert again.output_text


async def test_openai_cancelled_half_way(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        endless = {**ASKED, "max_output_tokens": 900, "extra_body": asked.ENDLESS}
        stream = await client.responses.create(**endless, input=QUESTION, stream=True)
        await asked.left_half_way(
            stream, url, lambda event: event.type == "response.output_text.delta"
        )


# langchain


async def test_langchain(url: str) -> None:
    chat = ChatOpenAI(
        model=MODEL,
        base_url=url,
        api_key=SecretStr("none"),
        temperature=0,
        max_completion_tokens=400,
        max_retries=0,
        use_responses_api=True,
    )
    question = [HumanMessage(asked.PARTS)]
    assert chat.invoke(question).text == ANSWER
    assert "".join([chunk.text async for chunk in chat.astream(question)]) == ANSWER
    parsed = chat.with_structured_output(Weather).invoke(QUESTION)
    assert isinstance(parsed, Weather)

    @tool
    def get_weather(city: Literal["Oslo", "Rome"]) -> str:
        """The weather in a city."""
        return f"rain in {city}"

    called = chat.bind_tools([get_weather], tool_choice="get_weather").invoke(QUESTION)
    (call,) = called.tool_calls
    result = get_weather.invoke(call)
    assert chat.invoke([HumanMessage(QUESTION), called, result]).response_metadata["id"]
    going = chat.model_copy(update={"use_previous_response_id": True})
    first = going.invoke(question)
    assert going.invoke([*question, first, HumanMessage(QUESTION)]).response_metadata["id"]
    with pytest.raises(openai.UnprocessableEntityError) as raised:
        chat.invoke([HumanMessage(asked.BROKEN[0]["content"])])
    assert raised.value.param == "input[0].content[0]"


async def test_langchain_cancelled_half_way(url: str) -> None:
    chat = ChatOpenAI(
        model=MODEL,
        base_url=url,
        api_key=SecretStr("none"),
        max_completion_tokens=900,
        extra_body=asked.ENDLESS,
        use_responses_api=True,
    )
    stream: Any = chat.astream(QUESTION)
    await asked.left_half_way(stream, url, lambda chunk: chunk.text)
