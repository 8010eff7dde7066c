"""The client libraries at chat completions with a picture and a sound: whole and streamed, with a
tool, with an error, and left half way."""

from contextlib import suppress
from typing import Any, Literal

import litellm
import openai
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from pydantic_ai import Agent, BinaryContent
from pydantic_ai.exceptions import ModelHTTPError, UsageLimitExceeded
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import UsageLimits

from . import asked
from .asked import ANSWER, HEARD, HEARD_ANSWER, MODEL, PARTS, QUESTION, SEEN, Weather

KNOWN = pytest.mark.parametrize(
    ("messages", "answer"), [(SEEN, ANSWER), (HEARD, HEARD_ANSWER)], ids=["picture", "sound"]
)
ASKED: Any = {"model": MODEL, "temperature": 0, "max_tokens": 32}


# openai


@KNOWN
def test_openai(url: str, messages: Any, answer: str) -> None:
    api = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    whole = api.chat.completions.create(**ASKED, messages=messages)
    assert whole.choices[0].message.content == answer
    with api.chat.completions.stream(**ASKED, messages=messages) as stream:
        said = "".join(event.delta for event in stream if event.type == "content.delta")
        assert said == stream.get_final_completion().choices[0].message.content == answer


async def test_openai_errors_and_left_half_way(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as api:
        for stream in (False, True):
            with pytest.raises(openai.UnprocessableEntityError) as raised:
                await api.chat.completions.create(**ASKED, messages=asked.BROKEN, stream=stream)
            assert raised.value.param == asked.WHERE
        endless = {**ASKED, "max_tokens": 900, "extra_body": asked.ENDLESS}
        left = await api.chat.completions.create(**endless, messages=SEEN, stream=True)
        await asked.left_half_way(left, url)


# litellm


@pytest.fixture
def lite(url: str) -> Any:
    return {
        "model": f"openai/{MODEL}",
        "api_base": url,
        "api_key": "none",
        "temperature": 0,
        "max_tokens": 32,
        "max_retries": 0,
    }


@KNOWN
async def test_litellm(lite: Any, messages: Any, answer: str) -> None:
    assert litellm.completion(**lite, messages=messages).choices[0].message.content == answer
    stream = await litellm.acompletion(**lite, messages=messages, stream=True)
    assert "".join([part.choices[0].delta.content or "" async for part in stream]) == answer


async def test_litellm_responses_messages_and_vectors(lite: Any, vectors: str) -> None:
    known = {key: lite[key] for key in ("model", "api_base", "api_key")}
    said = await litellm.aresponses(**known, input=QUESTION, max_output_tokens=8)
    assert said.output
    given = {"model": f"openai/{MODEL}", "api_key": "none", "input": ["a", "b"]}
    assert len(litellm.embedding(**given, api_base=vectors).data) == 2
    heard = litellm.transcription(
        model=f"openai/{MODEL}",
        file=(asked.SOUND.name, asked.SOUND.read_bytes()),
        api_base=known["api_base"],
        api_key="none",
    )
    assert isinstance(heard.text, str)


async def test_litellm_errors_and_left_half_way(lite: Any, url: str) -> None:
    for stream in (False, True):
        with pytest.raises(litellm.BadRequestError, match="picture"):
            await litellm.acompletion(**lite, messages=asked.BROKEN, stream=stream)
    endless = {**lite, "max_tokens": 900, "extra_body": asked.ENDLESS}
    left = await litellm.acompletion(**endless, messages=SEEN, stream=True)
    async for _ in left:
        break
    await left.aclose()
    await asked.ends(url)  # litellm may read on to the end of the answer


# langchain


def chat(url: str, **more: Any) -> ChatOpenAI:
    given: dict[str, Any] = {"temperature": 0, "max_completion_tokens": 32, **more}
    return ChatOpenAI(model=MODEL, base_url=url, api_key=SecretStr("none"), max_retries=0, **given)


@KNOWN
async def test_langchain(url: str, messages: Any, answer: str) -> None:
    question = [HumanMessage(messages[0]["content"])]
    assert chat(url).invoke(question).text == answer
    assert "".join([part.text async for part in chat(url).astream(question)]) == answer


async def test_langchain_tools_errors_and_left_half_way(url: str) -> None:
    weather = tool(asked.get_weather)
    bound = chat(url, max_completion_tokens=400).bind_tools([weather], tool_choice="get_weather")
    whole: Any = None
    for part in bound.stream(QUESTION):
        whole = part if whole is None else whole + part
    (call,) = whole.tool_calls
    assert call["args"]["city"] in ("Oslo", "Rome")
    shown = ToolMessage(PARTS, tool_call_id=call["id"])
    told = chat(url).invoke([HumanMessage(QUESTION), whole, shown])
    assert told.response_metadata["finish_reason"] in ("stop", "length")
    with pytest.raises(openai.UnprocessableEntityError):
        chat(url).invoke([HumanMessage(asked.BROKEN[0]["content"])])
    endless: Any = chat(url, max_completion_tokens=900, extra_body=asked.ENDLESS)
    stream: Any = endless.astream([HumanMessage(PARTS)])
    await asked.left_half_way(stream, url, lambda part: part.text)


# pydantic-ai


@pytest.mark.parametrize("kind", [OpenAIChatModel, OpenAIResponsesModel])
async def test_pydantic_ai(url: str, kind: Any) -> None:
    provider = OpenAIProvider(
        openai_client=openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    )
    model = kind(MODEL, provider=provider)
    agent = Agent(model, model_settings=ModelSettings(temperature=0, max_tokens=32))
    picture = BinaryContent(asked.PICTURE.read_bytes(), media_type="image/png")
    assert (await agent.run([picture, QUESTION])).output == ANSWER
    async with agent.run_stream([picture, QUESTION]) as run:
        assert "".join([part async for part in run.stream_text(delta=True)]) == ANSWER
    broken = BinaryContent(b"none", media_type="image/png")
    with pytest.raises(ModelHTTPError) as raised:
        await agent.run([broken, QUESTION])
    assert raised.value.status_code == 422
    called: list[str] = []

    def get_weather(city: Literal["Oslo", "Rome"]) -> str:
        """The weather in a city."""
        called.append(city)
        return f"rain in {city}"

    once = ModelSettings(temperature=0, max_tokens=400, parallel_tool_calls=False)
    calling = Agent(model, tools=[get_weather], model_settings=once)
    with suppress(UsageLimitExceeded):  # the model calls as long as it may
        await calling.run("What is the weather?", usage_limits=UsageLimits(request_limit=2))
    assert set(called) <= {"Oslo", "Rome"}
    filling: Any = Agent(model, output_type=Weather, model_settings=once)
    assert isinstance((await filling.run(QUESTION)).output, Weather)
    endless = ModelSettings(max_tokens=900, extra_body=asked.ENDLESS)
    async with (
        asked.cancelled(url),
        agent.run_stream([picture, QUESTION], model_settings=endless) as run,
    ):
        async for _ in run.stream_text(delta=True):
            break


async def test_pydantic_ai_hears(url: str) -> None:
    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=url, api_key="none"))
    agent = Agent(model, model_settings=ModelSettings(temperature=0, max_tokens=32))
    sound = BinaryContent(asked.SOUND.read_bytes(), media_type="audio/wav")
    assert (await agent.run([sound, asked.HEARD_QUESTION])).output == HEARD_ANSWER
