"""The official client's `responses`, unchanged, against the app."""

import asyncio
from typing import Any, Literal

import openai
import pydantic
import pytest

from thespis.protocol.errors import Failure
from thespis.protocol.requests.request import ChatMessage, ChatPrompt, Encoded, Slot, Text

from ..fake import FakeClient, http_config, post, served, stream_bytes
from .events import kinds, read_events, read_response, rebuilt

TEXT = "a red circle é!"
MESSAGE = [
    "output_item.added", "content_part.added", "output_text.delta", "output_text.done",
    "content_part.done", "output_item.done",
]  # fmt: skip
CALL = [
    "output_item.added", "function_call_arguments.delta", "function_call_arguments.done",
    "output_item.done",
]  # fmt: skip
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}
ARGUMENTS = '{"city": "Oslo"}'
CALLING = ("<tool_", f'call>{{"name": "get_weather", "arguments": {ARGUMENTS}}}', "</tool_call>")


def connect(url: str, key: str = "none") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def talking(*words: str) -> FakeClient:
    client = FakeClient()
    client.words, client.pace = words, 0.001
    return client


async def test_a_response_has_text_status_and_usage() -> None:
    client = FakeClient()
    async with served(client) as url, connect(url) as api:
        answer = await api.responses.create(
            model="fake-model", input="hello", instructions="Be brief.", metadata={"a": "b"}
        )
    assert (answer.output_text, answer.status, answer.object) == (TEXT, "completed", "response")
    assert answer.id.startswith("resp_")
    (item,) = answer.output
    assert item.type == "message"
    assert item.id.startswith("msg_")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 5)
    assert answer.usage.total_tokens == 8
    assert answer.usage.input_tokens_details.cached_tokens == 2
    assert (answer.instructions, answer.metadata) == ("Be brief.", {"a": "b"})
    prompt = client.submitted[0][0]
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages == (
        ChatMessage("system", (Text("Be brief."),)),
        ChatMessage("user", (Text("hello"),)),
    )


async def test_the_body_is_what_openais_types_say() -> None:
    body = {
        "model": "fake-model", "input": "hello", "tools": [WEATHER], "tool_choice": "auto",
        "text": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
        "reasoning": {"effort": "low"}, "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
    }  # fmt: skip
    async with served(FakeClient()) as url:
        status, told, _ = await post(url, "/v1/responses", body)
    assert status == 200
    answer = read_response(told)
    assert answer.tools[0].type == "function"
    part = answer.output[0].content[0]
    assert part.type == "output_text"
    assert part.logprobs is not None
    assert [entry.token for entry in part.logprobs] == ["a", " red", " circle", " é", "!"]


async def test_a_stream_tells_every_step_in_order() -> None:
    async with served(talking("a", " red", " circle", " é", "!")) as url:
        raw = await stream_bytes(url, "/v1/responses", {"model": "fake-model", "input": "hello"})
    events = read_events(raw)
    assert kinds(events) == ["created", "in_progress", *MESSAGE, "completed"]
    assert [item["text"] for item in rebuilt(events)] == [TEXT]
    last = events[-1].response
    assert (last.output_text, last.usage.output_tokens) == (TEXT, 5)
    assert {event.response.id for event in events if hasattr(event, "response")} == {last.id}
    assert events[0].response.status == events[1].response.status == "in_progress"


async def test_the_clients_own_stream_gathers_the_response() -> None:
    async with served(talking("a", " red", " circle")) as url, connect(url) as api:
        async with api.responses.stream(model="fake-model", input="hello") as stream:
            deltas = [e.delta async for e in stream if e.type == "response.output_text.delta"]
            final = await stream.get_final_response()
        plain = await api.responses.create(model="fake-model", input="hello", stream=True)
        told = [event.type async for event in plain]
    assert "".join(deltas) == final.output_text == "a red circle"
    assert told[0] == "response.created"
    assert told[-1] == "response.completed"


async def test_an_answer_that_is_cut_is_incomplete() -> None:
    body = {"model": "fake-model", "input": "hello", "max_output_tokens": 2}
    async with served(talking("a", " red", " circle")) as url:
        _, told, _ = await post(url, "/v1/responses", body)
        raw = await stream_bytes(url, "/v1/responses", body)
    for answer in (read_response(told), read_events(raw)[-1].response):
        assert answer.status == "incomplete"
        assert answer.incomplete_details.reason == "max_output_tokens"
        assert answer.output[0].status == "incomplete"
        assert answer.output_text == "a red"
    assert read_events(raw)[-1].type == "response.incomplete"


@pytest.mark.parametrize("words", [CALLING, tuple("".join(CALLING)), ("".join(CALLING),)])
async def test_a_call_is_an_item_with_arguments_in_pieces(words: tuple[str, ...]) -> None:
    body = {"model": "fake-model", "input": "hello", "tools": [WEATHER]}
    async with served(talking("Look: ", *words)) as url:
        _, told, _ = await post(url, "/v1/responses", body)
        raw = await stream_bytes(url, "/v1/responses", body)
    events = read_events(raw)
    assert kinds(events) == ["created", "in_progress", *MESSAGE, *CALL, "completed"]
    assert [item["text"] for item in rebuilt(events)] == ["Look:", ARGUMENTS]
    for answer in (read_response(told), events[-1].response):
        said, call = answer.output
        assert said.content[0].text == "Look:"
        assert (call.name, call.arguments, call.status) == ("get_weather", ARGUMENTS, "completed")
        assert call.id.startswith("fc_")
        assert call.call_id.startswith("call_")


async def test_the_loop_of_tools_goes_on_with_what_the_response_had() -> None:
    client = talking(*CALLING)
    picture = "data:image/png;base64,aGVsbG8="
    async with served(client) as url, connect(url) as api:
        items: Any = [{"role": "user", "content": "What do you see?"}]
        first = await api.responses.create(model="fake-model", input=items, tools=[WEATHER])
        items += first.output
        (call,) = first.output
        assert call.type == "function_call"
        shown = [
            {"type": "input_text", "text": "here"},
            {"type": "input_image", "image_url": picture, "detail": "auto"},
        ]
        items.append({"type": "function_call_output", "call_id": call.call_id, "output": shown})
        client.words = ("sun",)
        second = await api.responses.create(model="fake-model", input=items, tools=[WEATHER])
    assert second.output_text == "sun"
    prompt, media, *_ = client.submitted[1]
    assert isinstance(prompt, ChatPrompt)
    _, assistant, tool = prompt.messages
    assert assistant.extra["tool_calls"][0]["function"] == {
        "name": "get_weather",
        "arguments": {"city": "Oslo"},
    }
    assert tool.extra == {"tool_call_id": call.call_id, "name": "get_weather"}
    assert tool.content == (Text("here"), Slot(0))
    assert isinstance(media[0].source, Encoded)
    assert media[0].where == "input[2].output[1]"


async def test_parse_fills_a_class() -> None:
    class Weather(pydantic.BaseModel):
        city: Literal["Oslo", "Rome"]

    client = talking('{"city"', ': "Oslo"}')
    async with served(client) as url, connect(url) as api:
        answer = await api.responses.parse(model="fake-model", input="hello", text_format=Weather)
    assert answer.output_parsed == Weather(city="Oslo")
    guide = client.submitted[0][2].structured_outputs
    assert guide is not None
    assert (guide.kind, guide.part) == ("json_schema", "text.format.schema")  # type: ignore[union-attr]


async def test_a_stream_that_fails_says_so_and_raises() -> None:
    client = talking("a", " red", " circle")
    client.fail_after = 2
    async with served(client) as url, connect(url) as api:
        raw = await stream_bytes(url, "/v1/responses", {"model": "fake-model", "input": "hello"})
        stream = await api.responses.create(model="fake-model", input="hello", stream=True)
        told: list[Any] = []
        with pytest.raises(openai.APIError, match="A part was restarted"):
            told += [event async for event in stream]
    events = read_events(raw)
    assert kinds(events)[-3:] == ["output_item.done", "failed", "error"]
    failed = events[-2].response
    assert (failed.status, failed.error.code) == ("failed", "server_error")
    assert failed.output[0].content[0].text == "a red"
    assert events[-1].code == "restarted"


async def test_a_request_that_fails_before_its_first_token_has_a_status() -> None:
    client = FakeClient()
    client.fail_after = 0
    async with served(client) as url, connect(url) as api:
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as raised:
                await api.responses.create(model="fake-model", input="hello", stream=stream)
            assert raised.value.status_code == 503


async def test_errors_become_the_clients_own_exceptions() -> None:
    client = FakeClient()
    async with served(client, http_config(api_key=("sesame",))) as url:
        async with connect(url, "sesame") as api:
            with pytest.raises(openai.NotFoundError):
                await api.responses.create(model="another", input="hello")
            with pytest.raises(openai.BadRequestError) as bad:
                await api.responses.create(model="fake-model", input="hello", temperature=-1)
            assert bad.value.param == "temperature"
            with pytest.raises(openai.BadRequestError) as bad:
                await api.responses.create(
                    model="fake-model", input="hello", tools=[{"type": "web_search"}]
                )
            assert (bad.value.param, bad.value.code) == ("tools[0].type", "unsupported")
            client.refusal = Failure("overloaded", "Full.", code="overloaded")
            with pytest.raises(openai.RateLimitError):
                await api.responses.create(model="fake-model", input="hello")
        async with connect(url, "wrong") as api:
            with pytest.raises(openai.AuthenticationError):
                await api.responses.create(model="fake-model", input="hello")


async def test_a_stream_that_is_left_ends_its_request() -> None:
    client = talking(*("a" for _ in range(2000)))
    async with served(client) as url, connect(url) as api:
        stream = await api.responses.create(model="fake-model", input="hello", stream=True)
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        await asyncio.wait_for(client.cancel_seen.wait(), 10)
    assert client.cancelled == ["r1"]


async def test_fields_without_effect_are_told() -> None:
    body = {
        "model": "fake-model", "input": [{"role": "user", "content": "hi", "mood": "gay"}],
        "include": ["reasoning.encrypted_content"], "truncation": "auto", "frobnicate": 1,
    }  # fmt: skip
    async with served(FakeClient()) as url:
        status, told, headers = await post(url, "/v1/responses", body)
    assert status == 200
    assert headers["X-Thespis-Ignored-Fields"].split(", ") == [
        "frobnicate", "include", "truncation", "input[0].mood",
    ]  # fmt: skip
    assert told["truncation"] == "disabled"
