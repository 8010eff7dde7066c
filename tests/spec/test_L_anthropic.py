"""Anthropic's official client on real processes: for the same conversation it gets the answer that
a chat completion gets, with media, with tools, with pictures in their results, and with errors."""

import base64
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from ..helpers.media import data_url, picture, png, sound, wav
from ..helpers.serving import Server
from .faces import ALICE, BOB

pytestmark = pytest.mark.process

CHAT = "/v1/chat/completions"
PNG = base64.b64encode(png(picture(5))).decode()
OTHER = base64.b64encode(png(picture(6))).decode()
HEARD = {
    "type": "input_audio",
    "input_audio": {"data": base64.b64encode(wav(sound(5))).decode(), "format": "wav"},
}
ASKED: dict[str, Any] = {"model": "tiny", "max_tokens": 12}
GREEDY: dict[str, Any] = {"extra_body": {"temperature": 0}}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}


def seen(data: str) -> dict[str, Any]:
    source = {"type": "base64", "media_type": "image/png", "data": data}
    return {"type": "image", "source": source}


def image_url(data: str) -> dict[str, Any]:
    url = data_url("image/png", base64.b64decode(data))
    return {"type": "image_url", "image_url": {"url": url}}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=server.url, api_key=ALICE, max_retries=0, timeout=60
    ) as client:
        yield client


def expected(server: Server, messages: list[Any], **more: Any) -> tuple[str, int]:
    """What a chat completion is answered, and the tokens of its prompt."""
    body = {"messages": messages, "max_tokens": 12, "temperature": 0, **more}
    reply = server.ask(CHAT, body)
    assert reply.status == 200, reply.body
    return reply.body["choices"][0]["message"]["content"], reply.body["usage"]["prompt_tokens"]


def test_S69_text_pictures_and_sounds(server: Server, api: anthropic.Anthropic) -> None:
    system = {"role": "system", "content": "Be brief."}
    parts = [text("What do you see"), image_url(PNG), text("and hear?"), HEARD]
    answer, tokens = expected(server, [system, {"role": "user", "content": parts}])
    blocks: Any = [text("What do you see"), seen(PNG), text("and hear?"), HEARD]
    asked: Any = {"system": "Be brief.", "messages": [{"role": "user", "content": blocks}]}
    whole = api.messages.create(**ASKED, **asked, **GREEDY)
    with api.messages.stream(**ASKED, **asked, **GREEDY) as stream:
        assert "".join(stream.text_stream) == answer
        streamed = stream.get_final_message()
    for message in (whole, streamed):
        assert [block.to_dict() for block in message.content] == [text(answer)]
        assert message.stop_reason == "max_tokens"
        usage = message.usage
        assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == tokens
        assert usage.output_tokens == 12
    assert api.messages.count_tokens(model="tiny", **asked).input_tokens == tokens
    bare = api.messages.count_tokens(model="tiny", messages=[{"role": "user", "content": "hi"}])
    assert bare.input_tokens == expected(server, [{"role": "user", "content": "hi"}])[1]


async def test_S69_the_async_client_goes_on_from_a_begun_answer(server: Server) -> None:
    messages: Any = [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": "It is"},
    ]
    answer, _ = expected(server, messages, continue_final_message=True, add_generation_prompt=False)
    async with anthropic.AsyncAnthropic(
        base_url=server.url, auth_token=ALICE, api_key=None, max_retries=0
    ) as api:
        async with api.messages.stream(**ASKED, messages=messages, **GREEDY) as stream:
            assert "".join([piece async for piece in stream.text_stream]) == answer
        async with api.messages.stream(**ASKED, messages=messages, **GREEDY) as stream:
            async for _ in stream:
                break  # cancelled half way


def test_S69_tools_are_called_and_their_results_hold_pictures(
    server: Server, api: anthropic.Anthropic
) -> None:
    tools: Any = [{"name": "look", "description": "Looks.", "input_schema": SCHEMA}]
    question: Any = {"role": "user", "content": "What is there?"}
    called = api.messages.create(
        **{**ASKED, "max_tokens": 200},
        messages=[question],
        tools=tools,
        tool_choice={"type": "tool", "name": "look"},
    )
    assert called.stop_reason == "tool_use"
    (call,) = called.content
    assert isinstance(call, anthropic.types.ToolUseBlock)
    assert call.input in ({"city": "Oslo"}, {"city": "Rome"})
    results: Any = [
        {"type": "tool_result", "tool_use_id": call.id, "content": [text("this"), seen(OTHER)]},
        text("well?"),
    ]
    said: Any = {"role": "assistant", "content": called.content}
    answer = api.messages.create(
        **ASKED,
        messages=[question, said, {"role": "user", "content": results}],
        tools=tools,
        tool_choice={"type": "auto"},
        **GREEDY,
    )
    function = {"name": "look", "description": "Looks.", "parameters": SCHEMA}
    made = {"type": "function", "function": {"name": "look", "arguments": call.input}}
    tool = {
        "role": "tool",
        "tool_call_id": call.id,
        "name": "look",
        "content": [text("this"), image_url(OTHER)],
    }
    messages = [
        question,
        {"role": "assistant", "tool_calls": [{"id": call.id, **made}]},
        tool,
        {"role": "user", "content": "well?"},
    ]
    words, tokens = expected(server, messages, tools=[{"type": "function", "function": function}])
    assert "".join(block.text for block in answer.content if block.type == "text") == words
    usage = answer.usage
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == tokens


def test_S69_errors_are_anthropics(server: Server, api: anthropic.Anthropic) -> None:
    broken: Any = seen(base64.b64encode(b"no picture").decode())
    with pytest.raises(anthropic.UnprocessableEntityError) as bad:
        api.messages.create(**ASKED, messages=[{"role": "user", "content": [broken]}])
    told: Any = bad.value.body
    assert told["error"]["type"] == "invalid_request_error"
    assert told["error"]["message"].startswith("messages[0].content[0]: ")
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long: "):
        api.messages.create(**ASKED, messages=[{"role": "user", "content": "word " * 2000}])
    with (
        anthropic.Anthropic(base_url=server.url, api_key="nobody", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(**ASKED, messages=[{"role": "user", "content": "hi"}])


def test_S69_another_tenant_finds_none_of_this_ones_media(
    server: Server, api: anthropic.Anthropic
) -> None:
    """A picture by its id alone is there for whoever sent it."""
    named: Any = {**image_url(PNG), "uuid": "only-hers"}
    alone: Any = {"type": "image_url", "image_url": None, "uuid": "only-hers"}
    api.messages.create(**ASKED, messages=[{"role": "user", "content": [named]}])
    api.messages.create(**ASKED, messages=[{"role": "user", "content": [alone]}])
    with (
        anthropic.Anthropic(base_url=server.url, api_key=BOB, max_retries=0) as bob,
        pytest.raises(anthropic.APIStatusError) as caught,
    ):
        bob.messages.create(**ASKED, messages=[{"role": "user", "content": [alone]}])
    assert caught.value.status_code in (400, 404)
