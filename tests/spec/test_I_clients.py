"""Drop-in: the official `openai` client, `litellm` and `langchain-openai` talk to the server as
they talk to OpenAI's.

Each asks about a picture and a sound, streamed and not, sync and async, and has a function called.
The greedy answer that plain HTTP gets is the one that all must get.
"""

import asyncio
import base64
import functools
import json
import operator
import os
import socket
from collections.abc import Iterator
from typing import Any
from unittest import mock

import openai
import pydantic
import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_openai import ChatOpenAI

from ..helpers.media import data_url, picture, png, sound, wav
from ..helpers.serving import Server
from .faces import ALICE

with mock.patch.dict(
    os.environ, {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
):  # else its import asks the internet for prices
    import litellm

pytestmark = [
    pytest.mark.process,
    # Of litellm's own types, when its first call reads them.
    pytest.mark.filterwarnings(
        "ignore:Items? .* on TypedDict class .* using the `ReadOnly` qualifier:UserWarning"
    ),
]

CONTENT: list[dict[str, Any]] = [
    {"type": "text", "text": "What do you see and hear?"},
    {"type": "image_url", "image_url": {"url": data_url("image/png", png(picture(5)))}},
    {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(wav(sound(5))).decode(), "format": "wav"},
    },
]
MESSAGES: Any = [{"role": "user", "content": CONTENT}]
GREEDY: Any = {"model": "tiny", "temperature": 0, "max_tokens": 12}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Oslo", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
FORCED: Any = {"type": "function", "function": {"name": "get_weather"}}


@pytest.fixture(autouse=True)
def nobody_else_is_called(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No client asks for a name or an address beyond this machine."""
    resolve, hosts = socket.getaddrinfo, set()

    def noted(host: Any, *args: Any, **more: Any) -> Any:
        hosts.add(host)
        return resolve(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    yield
    assert hosts <= {"127.0.0.1", b"127.0.0.1"}


@pytest.fixture(scope="module")
def url(server: Server) -> str:
    return f"{server.url}/v1"


@pytest.fixture(scope="module")
def expected(server: Server) -> str:
    """What plain HTTP is answered."""
    text: str = server.ask("/v1/chat/completions", {**GREEDY, "messages": MESSAGES}).body[
        "choices"
    ][0]["message"]["content"]
    assert text
    return text


def check_call(name: str, arguments: str) -> None:
    assert name == "get_weather"
    assert json.loads(arguments)["city"] in ("Oslo", "Rome")


# openai


@pytest.fixture(scope="module")
def api(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key=ALICE, max_retries=0, timeout=60) as api:
        yield api


def test_S54_openai_sync(api: openai.OpenAI, expected: str) -> None:
    answer = api.chat.completions.create(**GREEDY, messages=MESSAGES)
    assert answer.choices[0].message.content == expected
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    stream = api.chat.completions.create(
        **GREEDY, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        == expected
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == answer.usage.total_tokens


async def test_S54_openai_async(url: str, expected: str) -> None:
    async with openai.AsyncOpenAI(base_url=url, api_key=ALICE, max_retries=0, timeout=60) as api:
        answer, stream = await asyncio.gather(
            api.chat.completions.create(**GREEDY, messages=MESSAGES),
            api.chat.completions.create(**GREEDY, messages=MESSAGES, stream=True),
        )
        assert answer.choices[0].message.content == expected
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == expected
        completion = await api.completions.create(**GREEDY, prompt="hello")
        assert completion.choices[0].finish_reason == "length"
        assert [model.id async for model in api.models.list()] == ["tiny"]


def test_S54_openai_tools(api: openai.OpenAI) -> None:
    asked: Any = {
        **GREEDY,
        "max_tokens": 200,
        "messages": MESSAGES,
        "tools": [WEATHER],
        "tool_choice": FORCED,
        "parallel_tool_calls": False,
    }
    message = api.chat.completions.create(**asked).choices[0].message
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert call.type == "function"
    check_call(call.function.name, call.function.arguments)
    with api.chat.completions.stream(**asked) as stream:  # the client's own accumulator
        streamed = stream.get_final_completion().choices[0].message.tool_calls
    assert streamed is not None
    assert [one.function.arguments for one in streamed] == [call.function.arguments]
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    conversation: Any = [*MESSAGES, message.model_dump(exclude_none=True), result]
    assert api.chat.completions.create(**GREEDY, messages=conversation).choices[0].finish_reason


async def test_S54_openai_async_tools(url: str) -> None:
    asked: Any = {
        **GREEDY,
        "max_tokens": 200,
        "messages": MESSAGES,
        "tools": [WEATHER],
        "tool_choice": FORCED,
    }
    async with (
        openai.AsyncOpenAI(base_url=url, api_key=ALICE, max_retries=0, timeout=60) as api,
        api.chat.completions.stream(**asked, parallel_tool_calls=False) as stream,
    ):
        final = await stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    check_call(calls[0].function.name, calls[0].function.arguments)


def test_S56_openai_raises_its_own_exceptions(url: str, api: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        api.chat.completions.create(**{**GREEDY, "model": "gpt-4"}, messages=MESSAGES)
    assert unknown.value.code == "model_not_found"
    part: Any = {"type": "image_url", "image_url": {"url": data_url("image/png", b"none")}}
    with pytest.raises(openai.UnprocessableEntityError) as broken:
        api.chat.completions.create(**GREEDY, messages=[{"role": "user", "content": [part]}])
    assert broken.value.param == "messages[0].content[0]"
    with (
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


# litellm


@pytest.fixture(scope="module")
def lite(url: str) -> dict[str, Any]:
    return {
        **GREEDY,
        "model": "openai/tiny",
        "api_base": url,
        "api_key": ALICE,
        "messages": MESSAGES,
    }


def test_S54_litellm_sync(lite: dict[str, Any], expected: str) -> None:
    answer = litellm.completion(**lite)
    assert answer.choices[0].message.content == expected
    assert answer.usage.prompt_tokens > 0
    chunks = litellm.completion(**lite, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected


async def test_S54_litellm_async(lite: dict[str, Any], expected: str) -> None:
    assert (await litellm.acompletion(**lite)).choices[0].message.content == expected
    chunks = await litellm.acompletion(**lite, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in chunks]) == expected


def test_S54_litellm_tools(lite: dict[str, Any]) -> None:
    answer = litellm.completion(
        **{**lite, "max_tokens": 200},
        tools=[WEATHER],
        tool_choice=FORCED,
        parallel_tool_calls=False,
    )
    (call,) = answer.choices[0].message.tool_calls
    check_call(call.function.name, call.function.arguments)
    assert answer.choices[0].finish_reason == "tool_calls"
    asked = {**lite, "max_tokens": 200, "stream": True}
    chunks = litellm.completion(
        **asked, tools=[WEATHER], tool_choice=FORCED, parallel_tool_calls=False
    )
    deltas = [delta for chunk in chunks for delta in chunk.choices[0].delta.tool_calls or ()]
    name = "".join(delta.function.name or "" for delta in deltas)
    check_call(name, "".join(delta.function.arguments or "" for delta in deltas))


def test_S56_litellm_raises_its_own_exceptions(lite: dict[str, Any]) -> None:
    with pytest.raises(litellm.exceptions.NotFoundError):
        litellm.completion(**{**lite, "model": "openai/gpt-4"})
    with pytest.raises(litellm.exceptions.BadRequestError):
        litellm.completion(**{**lite, "temperature": -1})


# langchain


@pytest.fixture(scope="module")
def chain(url: str) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=url,
        api_key=pydantic.SecretStr(ALICE),
        model="tiny",
        temperature=0,
        max_retries=0,
        max_completion_tokens=12,
    )


HUMAN: list[BaseMessage] = [HumanMessage(content=CONTENT)]  # type: ignore[arg-type]


def test_S54_langchain_sync(chain: ChatOpenAI, expected: str) -> None:
    answer = chain.invoke(HUMAN)
    assert answer.content == expected
    assert isinstance(answer, AIMessage)
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] > 0
    assert "".join(str(chunk.content) for chunk in chain.stream(HUMAN)) == expected


async def test_S54_langchain_async(chain: ChatOpenAI, expected: str) -> None:
    assert (await chain.ainvoke(HUMAN)).content == expected
    assert "".join([str(chunk.content) async for chunk in chain.astream(HUMAN)]) == expected


def test_S54_langchain_tools_and_structured_output(chain: ChatOpenAI) -> None:
    able = chain.model_copy(update={"max_tokens": 200})
    answer = able.bind_tools(
        [WEATHER], tool_choice="get_weather", parallel_tool_calls=False
    ).invoke(HUMAN)
    assert isinstance(answer, AIMessage)
    (call,) = answer.tool_calls
    check_call(call["name"], json.dumps(call["args"]))
    pieces = list(
        able.bind_tools([WEATHER], tool_choice="get_weather", parallel_tool_calls=False).stream(
            HUMAN
        )
    )
    whole: Any = functools.reduce(operator.add, pieces)
    (streamed,) = whole.tool_calls
    assert (streamed["name"], streamed["args"]) == (call["name"], call["args"])

    class Seen(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")
        colour: str = pydantic.Field(pattern="^(red|green|blue)$")
        sure: bool

    seen = able.with_structured_output(Seen, method="json_schema").invoke(HUMAN)
    assert isinstance(seen, Seen)
