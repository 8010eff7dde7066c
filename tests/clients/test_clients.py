"""Four client libraries, each as its manual has it: a chat, a stream, a tool, and an answer of a
pydantic class.

The bundled model is tiny; that its answers can be read says that they were held to what the library
asked for.
"""

import json
from typing import Any, Literal

import litellm
import openai
import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

from .asked import MODEL, Forecast

QUESTION = "What is the weather?"
MESSAGES: Any = [{"role": "user", "content": QUESTION}]
MOST = 400


def get_weather(city: Literal["Oslo", "Rome"], days: Literal[1, 2, 3] = 1) -> str:
    """The weather in a city."""
    return f"rain in {city} for {days}"


def now() -> str:
    """The time of day."""
    return "noon"


PARAMETERS = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Rome"]}},
    "required": ["city"],
}
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather.",
            "parameters": PARAMETERS,
        },
    },
    {"type": "function", "function": {"name": "now"}},
]


def forced(name: str) -> Any:
    return {"type": "function", "function": {"name": name}}


# openai


@pytest.fixture
def api(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0)


def test_openai(api: openai.OpenAI) -> None:
    answer = api.chat.completions.create(
        model=MODEL, messages=MESSAGES, temperature=0, max_tokens=8
    )
    chunks = api.chat.completions.create(
        model=MODEL, messages=MESSAGES, temperature=0, max_tokens=8, stream=True
    )
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        == answer.choices[0].message.content
    )
    parsed = api.chat.completions.parse(
        model=MODEL, messages=MESSAGES, response_format=Forecast, max_tokens=MOST
    )
    assert isinstance(parsed.choices[0].message.parsed, Forecast)
    tools: Any = [openai.pydantic_function_tool(Forecast)]
    called = api.chat.completions.parse(
        model=MODEL,
        messages=MESSAGES,
        tools=tools,
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=MOST,
    )
    assert isinstance(
        (called.choices[0].message.tool_calls or [])[0].function.parsed_arguments, Forecast
    )


@pytest.mark.parametrize("name", ["get_weather", "now"])
def test_openai_tools(api: openai.OpenAI, name: str) -> None:
    answer = api.chat.completions.create(
        model=MODEL, messages=MESSAGES, tools=TOOLS, tool_choice=forced(name), max_tokens=MOST
    )
    calls: Any = answer.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == [name]
    arguments = json.loads(calls[0].function.arguments)
    assert set(arguments) == ({"city"} if name == "get_weather" else set())
    messages = [
        *MESSAGES,
        answer.choices[0].message,
        {"role": "tool", "tool_call_id": calls[0].id, "content": "rain"},
    ]
    assert (
        api.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS, max_tokens=4)
        .choices[0]
        .finish_reason
    )


# litellm


def test_litellm(url: str) -> None:
    asked: dict[str, Any] = {
        "model": f"openai/{MODEL}",
        "api_base": url,
        "api_key": "none",
        "messages": MESSAGES,
    }
    answer = litellm.completion(**asked, temperature=0, max_tokens=8)
    chunks = litellm.completion(**asked, temperature=0, max_tokens=8, stream=True)
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        == answer.choices[0].message.content
    )
    typed = litellm.completion(**asked, response_format=Forecast, max_tokens=MOST)
    Forecast.model_validate_json(typed.choices[0].message.content)
    called = litellm.completion(
        **asked, tools=TOOLS, tool_choice=forced("get_weather"), max_tokens=MOST
    )
    (call,) = called.choices[0].message.tool_calls
    assert set(json.loads(call.function.arguments)) == {"city"}


# langchain


def test_langchain(url: str) -> None:
    chat = ChatOpenAI(
        base_url=url,
        api_key=SecretStr("none"),
        model=MODEL,
        max_retries=0,
        max_completion_tokens=MOST,
    )
    *_, last = chat.stream(QUESTION)
    assert last.chunk_position == "last"
    for method in ("function_calling", "json_schema"):
        answer = chat.with_structured_output(Forecast, method=method).invoke(QUESTION)
        assert isinstance(answer, Forecast)
    opened = {**Forecast.model_json_schema(), "title": "Forecast", "description": "The weather."}
    answer = chat.with_structured_output(opened, method="function_calling").invoke(QUESTION)
    assert isinstance(answer, dict)
    Forecast.model_validate(answer)
    called: Any = chat.bind_tools([tool(get_weather), tool(now)], tool_choice="get_weather").invoke(
        QUESTION
    )
    assert tool(get_weather).invoke(called.tool_calls[0]["args"]).startswith("rain")


# pydantic-ai


@pytest.mark.parametrize("output", [Forecast, ToolOutput(Forecast), NativeOutput(Forecast)])
def test_pydantic_ai(url: str, output: Any) -> None:
    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=url, api_key="none"))
    settings = ModelSettings(max_tokens=MOST, parallel_tool_calls=False, seed=1)
    assert isinstance(
        Agent(model, output_type=output, model_settings=settings).run_sync(QUESTION).output,
        Forecast,
    )
