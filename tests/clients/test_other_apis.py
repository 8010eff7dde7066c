"""Clients of Anthropic's API and of Ollama, each as its manual has it: a chat with a picture, a
stream, a tool and its result, and an answer of a pydantic class. The bundled model knows the
picture."""

import asyncio
import base64
from pathlib import Path
from typing import Any, Literal

import anthropic
import ollama
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from pydantic import BaseModel

MODEL = "demo_model"
PICTURE = Path(__file__).resolve().parents[2] / "demo_model/media/picture.png"
DATA = base64.b64encode(PICTURE.read_bytes()).decode()
QUESTION = "Where is the red circle?"
ANSWER = "left of the blue square"
SEEN: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}
BLOCKS: Any = [SEEN, {"type": "text", "text": QUESTION}]
ASKED: Any = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": BLOCKS}]}
GREEDY: Any = {"extra_body": {"temperature": 0}}


class Weather(BaseModel):
    """The weather in a city."""

    city: Literal["Oslo", "Rome"]
    sure: bool = True


def get_weather(city: Literal["Oslo", "Rome"]) -> str:
    """The weather in a city.

    Args:
      city: Which one.
    """
    return f"rain in {city}"


@pytest.fixture(scope="module")
def base(url: str) -> str:
    return url.removesuffix("/v1")


# anthropic


@pytest.fixture
def claude(base: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=base, api_key="none", max_retries=0)


def test_anthropic(claude: anthropic.Anthropic) -> None:
    answer = claude.messages.create(**ASKED, **GREEDY)
    assert [block.text for block in answer.content if block.type == "text"] == [ANSWER]
    assert answer.stop_reason == "end_turn"
    with claude.messages.stream(**ASKED, **GREEDY) as stream:
        assert "".join(stream.text_stream) == ANSWER
    usage = answer.usage
    counted = claude.messages.count_tokens(model=MODEL, messages=ASKED["messages"])
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)
    assert [model.id for model in claude.models.list()] == [MODEL]


async def test_anthropic_async_and_cancelled_half_way(base: str) -> None:
    async with anthropic.AsyncAnthropic(base_url=base, api_key="none", max_retries=0) as api:
        async with api.messages.stream(**ASKED, **GREEDY) as stream:
            async for _ in stream.text_stream:
                break
        answers = await asyncio.gather(*(api.messages.create(**ASKED, **GREEDY) for _ in range(3)))
    assert {block.text for one in answers for block in one.content if block.type == "text"} == {
        ANSWER
    }


def test_anthropic_documents_and_errors(claude: anthropic.Anthropic) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "The circle is red."}
    document: Any = {"type": "document", "title": "Note", "source": source}
    messages: Any = [{"role": "user", "content": [document, *BLOCKS]}]
    assert claude.messages.create(model=MODEL, max_tokens=8, messages=messages).content
    with pytest.raises(anthropic.NotFoundError, match="There is no model"):
        claude.messages.create(**{**ASKED, "model": "claude"})
    long = [{"role": "user", "content": "word " * 60_000}]
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        claude.messages.create(**{**ASKED, "messages": long})


def test_anthropic_tools(claude: anthropic.Anthropic) -> None:
    tools: Any = [
        {
            "name": "get_weather",
            "description": "The weather in a city.",
            "input_schema": {
                "type": "object",
                "properties": {"city": {"enum": ["Oslo", "Rome"]}},
                "required": ["city"],
            },
        }
    ]
    asked: Any = {"model": MODEL, "max_tokens": 200, "tools": tools}
    question: Any = {"role": "user", "content": "What is the weather?"}
    with claude.messages.stream(
        **asked, messages=[question], tool_choice={"type": "any", "disable_parallel_tool_use": True}
    ) as stream:
        called = stream.get_final_message()
    assert called.stop_reason == "tool_use"
    (call,) = [block for block in called.content if block.type == "tool_use"]
    assert call.input["city"] in ("Oslo", "Rome")
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": [SEEN]}
    messages: Any = [
        question,
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [result]},
    ]
    assert claude.messages.create(**{**asked, "max_tokens": 8}, messages=messages).stop_reason


def test_anthropic_runs_tools_by_itself(claude: anthropic.Anthropic) -> None:
    """Its tool runner goes round as long as the model calls."""

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """The weather in a city."""
        return f"rain in {city}"

    runner = claude.beta.messages.tool_runner(
        model=MODEL,
        max_tokens=16,
        tools=[weather],
        messages=[{"role": "user", "content": "What is the weather?"}],
        max_iterations=2,
    )
    assert [message.role for message in runner]


def test_anthropic_parses_an_answer(claude: anthropic.Anthropic) -> None:
    parsed = claude.messages.parse(
        model=MODEL,
        max_tokens=300,
        messages=[{"role": "user", "content": "What is the weather?"}],
        output_format=Weather,
    )
    assert isinstance(parsed.parsed_output, Weather)


def test_langchain_anthropic(base: str) -> None:
    chat: Any = ChatAnthropic(
        model_name=MODEL, base_url=base, api_key="none", max_retries=0, max_tokens_to_sample=300
    )
    asked = [HumanMessage(BLOCKS)]
    assert chat.invoke(asked).usage_metadata["input_tokens"] > 0
    assert "".join(str(chunk.text) for chunk in chat.stream(asked))
    called = chat.bind_tools([tool(get_weather)], tool_choice="get_weather").invoke("the weather?")
    assert tool(get_weather).invoke(called.tool_calls[0]["args"]).startswith("rain")
    assert isinstance(chat.with_structured_output(Weather).invoke("the weather?"), Weather)


# ollama


def test_ollama(base: str) -> None:
    api = ollama.Client(host=base)
    asked: Any = {
        "model": MODEL,
        "messages": [{"role": "user", "content": QUESTION, "images": [str(PICTURE)]}],
        "options": {"temperature": 0, "num_ctx": 2048},
        "keep_alive": "5m",
    }
    answer = api.chat(**asked)
    assert answer.message.content == ANSWER
    assert (answer.done_reason, answer.eval_count) is not None
    parts = list(api.chat(**asked, stream=True))
    assert "".join(part.message.content or "" for part in parts) == ANSWER
    made = api.generate(MODEL, QUESTION, images=[str(PICTURE)], options={"temperature": 0})
    assert made.response == ANSWER
    for _ in api.generate(MODEL, QUESTION, images=[str(PICTURE)], stream=True):
        break
    formed = api.chat(
        model=f"{MODEL}:latest",
        messages=[{"role": "user", "content": "the weather?"}],
        format=Weather.model_json_schema(),
        options={"num_predict": 300},
    )
    Weather.model_validate_json(formed.message.content or "")
    assert [model.model for model in api.list().models] == [f"{MODEL}:latest"]
    assert api.ps().models
    assert "vision" in (api.show(MODEL).capabilities or ())
    with pytest.raises(ollama.ResponseError, match="There is no model"):
        api.chat(model="llama3")


async def test_ollama_async_with_tools(base: str) -> None:
    api = ollama.AsyncClient(host=base)
    messages: Any = [{"role": "user", "content": "What is the weather?"}]
    said = await api.chat(model=MODEL, messages=messages, tools=[get_weather])
    call = {"function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}
    messages += [
        {"role": "assistant", "content": said.message.content, "tool_calls": [call]},
        {"role": "tool", "content": "rain", "tool_name": "get_weather"},
    ]
    parts = [
        part
        async for part in await api.chat(
            model=MODEL, messages=messages, tools=[get_weather], stream=True
        )
    ]
    assert parts[-1].done


def test_langchain_ollama(base: str) -> None:
    chat = ChatOllama(
        model=MODEL, base_url=base, temperature=0, num_predict=300, validate_model_on_init=True
    )
    url = f"data:image/png;base64,{DATA}"
    asked = [
        HumanMessage(
            [
                {"type": "image_url", "image_url": {"url": url}},
                {"type": "text", "text": QUESTION},
            ]
        )
    ]
    assert chat.invoke(asked).content == ANSWER
    assert "".join(str(chunk.content) for chunk in chat.stream(asked)) == ANSWER
    formed = chat.with_structured_output(Weather, method="json_schema").invoke("the weather?")
    assert isinstance(formed, Weather)
    assert chat.bind_tools([tool(get_weather)]).invoke("the weather?").response_metadata
