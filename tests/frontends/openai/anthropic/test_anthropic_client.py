"""The official `anthropic` package against the app: it works unchanged, sync and async, streamed
and not, and finds in every event what its own types say."""

import asyncio
import base64
import json
from typing import Any

import anthropic
import pytest
from anthropic.types import RawMessageStreamEvent
from pydantic import TypeAdapter

from thespis.protocol.errors import Failure
from thespis.protocol.requests.request import ChatPrompt, Slot, Text

from ..fake import FakeClient, http_config, post, served, stream_bytes

TEXT = "a red circle é!"
PATH = "/v1/messages"
HELLO: Any = [{"role": "user", "content": "hello"}]
ASKED: dict[str, Any] = {"model": "fake-model", "max_tokens": 64, "messages": HELLO}
PNG = base64.b64encode(b"picture").decode()
TOOLS: Any = [
    {
        "name": "get_weather",
        "description": "The weather.",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
    {"name": "now", "input_schema": {"type": "object"}},
]
CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}}</tool_call>'
EVENTS: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)


def connect(url: str, key: str = "none") -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0)


def saying(*words: str) -> FakeClient:
    client = FakeClient()
    client.words = words
    return client


def prompt_of(client: FakeClient) -> ChatPrompt:
    prompt = client.submitted[-1][0]
    assert isinstance(prompt, ChatPrompt)
    return prompt


async def test_an_answer_has_text_reason_and_usage() -> None:
    async with served(FakeClient()) as url, connect(url) as api:
        answer = await api.messages.create(**ASKED)
    assert [block.to_dict() for block in answer.content] == [{"type": "text", "text": TEXT}]
    assert (answer.role, answer.type, answer.model) == ("assistant", "message", "fake-model")
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    usage = answer.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (1, 2, 5)
    assert answer.id.startswith("msg_")
    assert answer._request_id is not None


async def test_a_stream_has_anthropics_events_in_their_order() -> None:
    """As they stand on the wire; each is what the client's own types say, with nothing more."""
    async with served(saying("a", " b")) as url:
        raw = (await stream_bytes(url, PATH, ASKED)).decode()
    names = [line.removeprefix("event: ") for line in raw.split("\n") if line.startswith("event")]
    assert names == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    bodies = [line.removeprefix("data: ") for line in raw.split("\n") if line.startswith("data")]
    assert [json.loads(body)["type"] for body in bodies] == names
    for name, body in zip(names, bodies, strict=True):
        if name != "ping":
            seen = EVENTS.validate_json(body)
            assert not [name for name in seen.model_extra or () if name != "lifecycle"]


async def test_the_stream_helper_comes_to_the_same_message() -> None:
    client = FakeClient()
    client.pace = 0.002
    async with served(client) as url, connect(url) as api:
        whole = await api.messages.create(**ASKED)
        async with api.messages.stream(**ASKED) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            streamed = await stream.get_final_message()
    assert text == TEXT
    assert streamed.content[0].to_dict() == whole.content[0].to_dict()
    assert (streamed.stop_reason, streamed.usage.output_tokens) == ("end_turn", 5)
    assert streamed.usage.cache_read_input_tokens == 2


async def test_the_sync_client_streams_too() -> None:
    async with served(FakeClient()) as url:

        def ask() -> str:
            with (
                anthropic.Anthropic(base_url=url, api_key="none") as api,
                api.messages.stream(**ASKED) as stream,
            ):
                return "".join(stream.text_stream)

        assert await asyncio.to_thread(ask) == TEXT


async def test_settings_reach_the_engine() -> None:
    client = FakeClient()
    async with served(client) as url, connect(url) as api:
        await api.messages.create(
            **ASKED,
            stop_sequences=["END"],
            metadata={"user_id": "ann"},
            extra_body={"temperature": 0.5, "top_p": 0.9, "top_k": 7, "seed": 3, "min_p": 0.1},
        )
    wanted = client.submitted[0][2]
    assert (wanted.temperature, wanted.top_p, wanted.top_k) == (0.5, 0.9, 7)
    assert (wanted.stop, wanted.seed, wanted.min_p, wanted.max_tokens) == (("END",), 3, 0.1, 64)


@pytest.mark.parametrize(
    ("limit", "words", "reason"),
    [(2, "abc", "max_tokens"), (5, "abcde", "max_tokens"), (9, "abc", "end_turn")],
)
async def test_why_an_answer_ends(limit: int, words: str, reason: str) -> None:
    async with served(saying(*words)) as url, connect(url) as api:
        answer = await api.messages.create(**{**ASKED, "max_tokens": limit})
        async with api.messages.stream(**{**ASKED, "max_tokens": limit}) as stream:
            streamed = await stream.get_final_message()
    assert answer.stop_reason == streamed.stop_reason == reason


async def test_a_picture_stands_where_its_block_stands() -> None:
    client = FakeClient()
    url_block = {"type": "image", "source": {"type": "url", "url": "https://host/a.png"}}
    inline = {"type": "base64", "media_type": "image/png", "data": PNG}
    content: Any = [
        {"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}},
        {"type": "image", "source": inline},
        {"type": "text", "text": "and"},
        url_block,
    ]
    async with served(client) as url, connect(url) as api:
        await api.messages.create(**{**ASKED, "messages": [{"role": "user", "content": content}]})
    (message,) = prompt_of(client).messages
    assert message.content == (Text("look"), Slot(0), Text("and"), Slot(1))
    assert [item.where for item in client.submitted[0][1]] == [
        "messages[0].content[1]",
        "messages[0].content[3]",
    ]
    assert list(client.blobs.values()) == [b"picture"]


async def test_tools_are_offered_called_and_answered() -> None:
    """The loop that the client's manual has, with a picture in the result and an error."""
    client = saying("Let", " me see. ", CALL[:30], CALL[30:], CALL)
    async with served(client) as url, connect(url) as api:
        answer = await api.messages.create(**ASKED, tools=TOOLS)
        assert answer.stop_reason == "tool_use"
        assert [block.type for block in answer.content] == ["text", "tool_use", "tool_use"]
        first, second = [block for block in answer.content if block.type == "tool_use"]
        assert (first.name, first.input, first.id != second.id) == (
            "get_weather",
            {"city": "Oslo"},
            True,
        )
        async with api.messages.stream(**ASKED, tools=TOOLS) as stream:
            streamed = await stream.get_final_message()
        assert [(block.type, getattr(block, "input", None)) for block in streamed.content] == [
            (block.type, getattr(block, "input", None)) for block in answer.content
        ]
        assert streamed.stop_reason == "tool_use"
        picture = {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": PNG},
        }
        results: Any = [
            {
                "type": "tool_result",
                "tool_use_id": first.id,
                "content": [{"type": "text", "text": "rain"}, picture],
            },
            {
                "type": "tool_result",
                "tool_use_id": second.id,
                "content": "no such city",
                "is_error": True,
            },
            {"type": "text", "text": "well?"},
        ]
        messages: Any = [
            *HELLO,
            {"role": "assistant", "content": answer.content},
            {"role": "user", "content": results},
        ]
        await api.messages.create(**{**ASKED, "messages": messages}, tools=TOOLS)
    prompt = prompt_of(client)
    assert [message.role for message in prompt.messages] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "user",
    ]
    _, said, good, bad, _ = prompt.messages
    calls = said.extra["tool_calls"]
    assert [call["function"] for call in calls] == [
        {"name": "get_weather", "arguments": {"city": "Oslo"}}
    ] * 2
    assert good.content == (Text("rain"), Slot(0))
    assert good.extra == {"tool_call_id": first.id, "name": "get_weather"}
    assert bad.content == (Text("Error: no such city"),)
    assert [tool["function"]["name"] for tool in prompt.tools] == ["get_weather", "now"]


async def test_a_forced_tool_is_called_once_and_the_choice_is_enforced() -> None:
    client = saying(CALL)
    async with served(client) as url, connect(url) as api:
        one = await api.messages.create(
            **ASKED, tools=TOOLS, tool_choice={"type": "tool", "name": "get_weather"}
        )
        assert one.stop_reason == "tool_use"
        guide = client.submitted[-1][2].guide
        assert guide is not None
        assert guide.kind == "tool_calls"
        await api.messages.create(
            **ASKED,
            tools=TOOLS,
            tool_choice={"type": "any", "disable_parallel_tool_use": True},
        )
        await api.messages.create(**ASKED, tools=TOOLS, tool_choice={"type": "none"})
        assert prompt_of(client).tools == ()


async def test_a_call_that_breaks_off_is_shown_as_text() -> None:
    client = saying('<tool_call>{"name": "now", "arguments": {"a": ')
    async with served(client) as url, connect(url) as api:
        answer = await api.messages.create(**{**ASKED, "max_tokens": 1}, tools=TOOLS)
    assert answer.stop_reason == "max_tokens"
    assert [block.to_dict() for block in answer.content] == [
        {"type": "text", "text": 'now: {"a": '}
    ]


async def test_system_prompts_turns_of_one_side_and_a_begun_answer() -> None:
    client = FakeClient()
    messages: Any = [
        {"role": "user", "content": "one"},
        {"role": "user", "content": [{"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "So"},
    ]
    system: Any = [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]
    async with served(client) as url, connect(url) as api:
        await api.messages.create(**{**ASKED, "messages": messages}, system=system)
        prompt = prompt_of(client)
        await api.messages.create(**ASKED, system="be brief")
    assert [(one.role, one.content) for one in prompt.messages] == [
        ("system", (Text("be brief"),)),
        ("user", (Text("one"), Text("two"))),
        ("assistant", (Text("So"),)),
    ]
    assert (prompt.continue_final_message, prompt.add_generation_prompt) == (True, False)
    assert prompt_of(client).messages[0].content == (Text("be brief"),)


async def test_documents_of_text_and_search_results_are_read() -> None:
    client = FakeClient()
    document = {
        "type": "document",
        "title": "Notes",
        "source": {"type": "text", "media_type": "text/plain", "data": "it rains"},
    }
    inner = {"type": "content", "content": [{"type": "text", "text": "and snows"}]}
    found = {
        "type": "search_result",
        "title": "T",
        "source": "S",
        "content": [{"type": "text", "text": "c"}],
    }
    content: Any = [document, {"type": "document", "source": inner}, found]
    async with served(client) as url, connect(url) as api:
        await api.messages.create(**{**ASKED, "messages": [{"role": "user", "content": content}]})
    texts = [part.text for part in prompt_of(client).messages[0].content if isinstance(part, Text)]
    assert texts == ["Notes", "it rains", "and snows", "T\nS", "c"]


async def test_an_answer_may_be_held_to_a_schema() -> None:
    client = FakeClient()
    schema: Any = {"type": "object", "properties": {"a": {"type": "integer"}}}
    async with served(client) as url, connect(url) as api:
        await api.messages.create(
            **ASKED, output_config={"format": {"type": "json_schema", "schema": schema}}
        )
    guide = client.submitted[0][2].guide
    assert guide is not None
    assert guide.kind == "json_schema"


async def test_thinking_is_a_block_of_its_own_and_comes_back() -> None:
    client = saying("<think>", "so", " so", "</think>", "yes")
    config = http_config(engine={"reasoning_parser": "qwen3"})
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    async with served(client, config) as url, connect(url) as api:
        answer = await api.messages.create(**ASKED, thinking=thinking)
        async with api.messages.stream(**ASKED, thinking=thinking) as stream:
            streamed = await stream.get_final_message()
        said: Any = {"role": "assistant", "content": answer.content}
        again: Any = {**ASKED, "messages": [*HELLO, said, *HELLO]}
        omitted: Any = {"type": "adaptive", "display": "omitted"}
        hidden = await api.messages.create(
            **again, thinking=omitted, output_config={"effort": "low"}
        )
        await api.messages.create(**again, thinking={"type": "disabled"})
    for one in (answer, streamed):
        assert [block.to_dict() for block in one.content] == [
            {"type": "thinking", "thinking": "so so", "signature": ""},
            {"type": "text", "text": "yes"},
        ]
    assert [block.type for block in hidden.content] == ["text"]
    assert client.submitted[0][2].thinking_token_budget == 1024
    prompts: list[Any] = [one[0] for one in client.submitted]
    assert [prompt.template_kwargs for prompt in prompts] == [
        {"enable_thinking": True},
        {"enable_thinking": True},
        {"enable_thinking": True, "reasoning_effort": "low"},
        {"enable_thinking": False},
    ]
    assert prompts[3].messages[1].extra["reasoning_content"] == "so so"


async def test_tokens_are_counted() -> None:
    async with served(FakeClient()) as url, connect(url) as api:
        counted = await api.messages.count_tokens(
            model="fake-model", messages=HELLO, system="be brief", tools=TOOLS
        )
    assert counted.input_tokens == 3


async def test_models_have_anthropics_form_for_its_clients_and_openais_for_all_others() -> None:
    async with served(FakeClient()) as url, connect(url) as api:
        listed = [model async for model in api.models.list()]
        one = await api.models.retrieve("fake-model")
        assert [model.id for model in listed] == [one.id] == ["fake-model"]
        assert one.type == "model"
        with pytest.raises(anthropic.NotFoundError):
            await api.models.retrieve("other")


ERRORS: list[tuple[Failure, int, str, type[Exception]]] = [
    (Failure("overloaded", "Full."), 429, "rate_limit_error", anthropic.RateLimitError),
    (Failure("restarted", "Gone."), 529, "overloaded_error", anthropic.InternalServerError),
    (Failure("deadline", "Late."), 504, "timeout_error", anthropic.InternalServerError),
    (Failure("internal", "Oops."), 500, "api_error", anthropic.InternalServerError),
    (Failure("too_large", "Big."), 413, "request_too_large", anthropic.APIStatusError),
    (
        Failure("unprocessable_media", "Bad."),
        422,
        "invalid_request_error",
        anthropic.UnprocessableEntityError,
    ),
]


@pytest.mark.parametrize(("failure", "status", "kind", "error"), ERRORS)
async def test_failures_have_anthropics_types_and_statuses(
    failure: Failure, status: int, kind: str, error: type[Exception]
) -> None:
    client = FakeClient()
    client.refusal = failure
    async with served(client) as url, connect(url) as api:
        with pytest.raises(error) as caught:
            await api.messages.create(**ASKED)
    told: Any = caught.value
    assert told.status_code == status
    assert told.body["type"] == "error"
    assert told.body["error"] == {"type": kind, "message": failure.text}
    assert told.body["request_id"] == told.request_id
    assert ("retry-after" in told.response.headers) is (status in (429, 529))


async def test_a_prompt_that_is_too_long_says_so_as_agents_expect() -> None:
    client = FakeClient()
    client.refusal = Failure("invalid_request", "Too much.", code="context_length_exceeded")
    async with served(client) as url, connect(url) as api:
        with pytest.raises(anthropic.BadRequestError, match="prompt is too long: Too much"):
            await api.messages.create(**ASKED)


async def test_a_failure_in_the_middle_of_a_stream_is_an_event() -> None:
    client = FakeClient()
    client.fail_after = 2
    async with served(client) as url, connect(url) as api:
        raw = (await stream_bytes(url, PATH, ASKED)).decode()
        with pytest.raises(anthropic.APIStatusError, match="restarted"):
            async for _ in await api.messages.create(**ASKED, stream=True):
                pass
    assert raw.rstrip().split("\n\n")[-1].startswith("event: error\n")
    assert "message_stop" not in raw


async def test_who_leaves_ends_the_request() -> None:
    client = FakeClient()
    client.pace = 0.05
    async with served(client) as url, connect(url) as api:
        async with api.messages.stream(**ASKED) as stream:
            async for _ in stream:
                break
        await asyncio.wait_for(client.cancel_seen.wait(), 5)
    assert client.cancelled == ["r1"]


@pytest.mark.parametrize("header", ["x-api-key", "Authorization"])
async def test_a_key_is_taken_from_either_header_and_nowhere_else(header: str) -> None:
    client, sent = FakeClient(), "key" if header == "x-api-key" else "Bearer key"
    config = http_config(api_key=("key", "other"))
    async with served(client, config) as url:
        status, _, headers = await post(url, PATH, ASKED, headers={header: sent})
        assert status == 200
        assert headers["request-id"] == headers["X-Request-Id"]
        tenant = client.submitted[-1][3]["tenant"]
        assert tenant == client.submitted[0][3]["tenant"] != ""
        status, body, _ = await post(url, PATH, ASKED, headers={header: sent + "x"})
        assert (status, body["error"]["type"]) == (401, "authentication_error")
        status, body, _ = await post(url, f"{PATH}/count_tokens", ASKED)
        assert (status, body["type"]) == (401, "error")
        chat = {"messages": HELLO}
        status, body, _ = await post(
            url, "/v1/chat/completions", chat, headers={"x-api-key": "key"}
        )
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")


async def test_two_headers_of_keys_are_no_way_in() -> None:
    async with served(FakeClient(), http_config(api_key=("key",))) as url:
        status, _, _ = await post(
            url, PATH, ASKED, headers=[("x-api-key", "bad"), ("x-api-key", "key")]
        )
        assert status == 401
        both = {"x-api-key": "key", "Authorization": "Bearer bad"}
        status, _, _ = await post(url, PATH, ASKED, headers=both)
        assert status == 401
