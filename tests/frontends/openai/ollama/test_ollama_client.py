"""The official `ollama` package against the app: it works unchanged, sync and async, streamed and
not."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import ollama
import pytest

from thespis.protocol.errors import Failure
from thespis.protocol.requests.request import ChatPrompt, Slot, Text, TextPrompt

from ..fake import FakeClient, http_config, post, served

TEXT = "a red circle é!"
HELLO: Any = [{"role": "user", "content": "hello"}]
ASKED: dict[str, Any] = {"model": "fake-model", "messages": HELLO}
CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}}</tool_call>'
BAD_CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": '
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}


def get_weather(city: str) -> str:
    """The weather.

    Args:
      city: Its name.
    """
    return f"rain in {city}"


@asynccontextmanager
async def connected(
    client: FakeClient, key: str = "", **config: Any
) -> AsyncIterator[ollama.AsyncClient]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with served(client, http_config(**config)) as url:
        api = ollama.AsyncClient(host=url, headers=headers)
        try:
            yield api
        finally:
            await api._client.aclose()


def saying(*words: str) -> FakeClient:
    client = FakeClient()
    client.words = words
    return client


async def test_a_chat_answer_has_text_reason_counts_and_durations() -> None:
    async with connected(FakeClient()) as api:
        answer = await api.chat(**ASKED)
    assert (answer.message.role, answer.message.content) == ("assistant", TEXT)
    assert (answer.done, answer.done_reason, answer.model) == (True, "stop", "fake-model")
    assert (answer.prompt_eval_count, answer.eval_count) == (3, 5)
    assert answer.prompt_eval_duration == 500_000_000
    assert answer.total_duration is not None
    assert answer.load_duration == 0


async def test_a_stream_is_lines_of_which_the_last_is_done() -> None:
    client = FakeClient()
    client.pace = 0.002
    async with connected(client) as api:
        parts = [part async for part in await api.chat(**ASKED, stream=True)]
        pieces = [part async for part in await api.generate("fake-model", "hello", stream=True)]
    assert "".join(part.message.content or "" for part in parts) == TEXT
    assert "".join(piece.response or "" for piece in pieces) == TEXT
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert (parts[-1].done_reason, parts[-1].eval_count) == ("stop", 5)
    assert pieces[-1].eval_count == 5


async def test_who_says_nothing_of_streams_gets_one() -> None:
    async with (
        served(FakeClient()) as url,
        aiohttp.ClientSession() as session,
        session.post(f"{url}/api/chat", json=ASKED) as response,
    ):
        assert response.headers["Content-Type"] == "application/x-ndjson"
        lines = (await response.text()).splitlines()
    assert json.loads(lines[-1])["done"] is True
    assert all("created_at" in json.loads(line) for line in lines)


async def test_the_sync_client_works_too() -> None:
    async with served(FakeClient()) as url:

        def ask() -> tuple[str, str]:
            api = ollama.Client(host=url)
            try:
                whole = api.generate("fake-model", "hello").response
                parts = api.chat(model="fake-model", messages=HELLO, stream=True)
                return whole or "", "".join(part.message.content or "" for part in parts)
            finally:
                api._client.close()

        assert await asyncio.to_thread(ask) == (TEXT, TEXT)


async def test_options_reach_the_engine() -> None:
    client = FakeClient()
    options = {
        "temperature": 0.5, "top_p": 0.9, "top_k": 7, "min_p": 0.1, "seed": 3, "stop": ["END"],
        "num_predict": 9, "repeat_penalty": 1.1, "presence_penalty": 0.2,
        "frequency_penalty": 0.3, "num_ctx": 4096, "mirostat": 0, "num_gpu": 1,
    }  # fmt: skip
    async with connected(client) as api:
        await api.chat(**ASKED, options=options)
        await api.generate("fake-model", "hello", options={"num_predict": -1, "stop": "x"})
    wanted = client.submitted[0][2]
    assert (wanted.temperature, wanted.top_p, wanted.top_k, wanted.min_p) == (0.5, 0.9, 7, 0.1)
    assert (wanted.seed, wanted.stop, wanted.max_tokens) == (3, ("END",), 9)
    assert (wanted.repetition_penalty, wanted.presence_penalty) == (1.1, 0.2)
    assert wanted.frequency_penalty == 0.3
    assert (client.submitted[1][2].max_tokens, client.submitted[1][2].stop) == (None, ("x",))


async def test_pictures_come_before_the_words_of_their_message() -> None:
    client = FakeClient()
    picture = base64.b64encode(b"picture").decode()
    async with connected(client) as api:
        messages: Any = [{"role": "user", "content": "look", "images": [b"picture", picture]}]
        await api.chat(model="fake-model", messages=messages)
        await api.generate("fake-model", "look", system="be brief", images=[b"picture"])
    chat, generate = client.submitted[0][0], client.submitted[1][0]
    assert isinstance(chat, ChatPrompt)
    assert isinstance(generate, ChatPrompt)
    assert chat.messages[0].content == (Slot(0), Slot(1), Text("look"))
    assert [item.where for item in client.submitted[0][1]] == [
        "messages[0].images[0]",
        "messages[0].images[1]",
    ]
    assert [(one.role, one.content) for one in generate.messages] == [
        ("system", (Text("be brief"),)),
        ("user", (Slot(0), Text("look"))),
    ]
    assert set(client.blobs.values()) == {b"picture"}


@pytest.mark.parametrize("stream", [False, True])
async def test_tools_are_called_and_answered(stream: bool) -> None:
    client = saying("Let me see. ", CALL[:20], CALL[20:], CALL)
    async with connected(client) as api:
        if stream:
            parts = [
                part async for part in await api.chat(**ASKED, tools=[get_weather], stream=True)
            ]
        else:
            parts = [await api.chat(**ASKED, tools=[get_weather])]
        calls = [call for part in parts for call in part.message.tool_calls or ()]
        assert [(call.function.name, call.function.arguments) for call in calls] == [
            ("get_weather", {"city": "Oslo"})
        ] * 2
        assert "".join(part.message.content or "" for part in parts) == "Let me see."
        answered: Any = [
            *HELLO,
            {"role": "assistant", "content": "", "tool_calls": calls},
            {"role": "tool", "content": "rain", "tool_name": "get_weather"},
        ]
        await api.chat(model="fake-model", messages=answered, tools=[get_weather])
    prompt = client.submitted[-1][0]
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages[2].extra == {"name": "get_weather"}
    said = prompt.messages[1].extra["tool_calls"]
    assert [call["function"]["arguments"] for call in said] == [{"city": "Oslo"}] * 2
    assert prompt.tools[0]["function"]["name"] == "get_weather"


async def test_a_call_that_breaks_off_is_text() -> None:
    async with connected(saying(BAD_CALL)) as api:
        answer = await api.chat(**ASKED, tools=[get_weather], options={"num_predict": 1})
    assert answer.message.tool_calls is None
    assert answer.message.content == 'get_weather: {"city": '
    assert answer.done_reason == "length"


async def test_a_format_holds_the_answer() -> None:
    client = FakeClient()
    async with connected(client) as api:
        await api.chat(**ASKED, format="json")
        await api.generate("fake-model", "hello", format=SCHEMA)
    guides = [one[2].guide for one in client.submitted]
    assert [guide and guide.kind for guide in guides] == ["json_object", "json_schema"]


@pytest.mark.parametrize("stream", [False, True])
async def test_thinking_is_told_apart(stream: bool) -> None:
    client = saying("<think>", "so", " so", "</think>", "yes")
    sent: Any = [*HELLO, {"role": "assistant", "content": "a", "thinking": "b"}, *HELLO]
    async with connected(client, engine={"reasoning_parser": "qwen3"}) as api:
        if stream:
            parts = [
                part
                async for part in await api.chat(
                    model="fake-model", messages=sent, think="low", stream=True
                )
            ]
        else:
            parts = [await api.chat(model="fake-model", messages=sent, think="low")]
        hidden = await api.generate("fake-model", "hello", think=False)
        shown = await api.show("fake-model")
    assert "".join(part.message.thinking or "" for part in parts) == "so so"
    assert "".join(part.message.content or "" for part in parts) == "yes"
    assert (hidden.thinking, hidden.response) == (None, "yes")
    assert "thinking" in (shown.capabilities or ())
    prompts = [one[0] for one in client.submitted]
    assert isinstance(prompts[0], ChatPrompt)
    assert isinstance(prompts[1], ChatPrompt)
    assert prompts[0].template_kwargs == {"enable_thinking": True, "reasoning_effort": "low"}
    assert prompts[0].messages[1].extra["reasoning_content"] == "b"
    assert prompts[1].template_kwargs == {"enable_thinking": False}


async def test_a_raw_prompt_has_no_template() -> None:
    client = FakeClient()
    async with connected(client) as api:
        await api.generate("fake-model", "<|user|>hello", raw=True)
    assert client.submitted[0][0] == TextPrompt("<|user|>hello")


async def test_scores_are_told() -> None:
    client = FakeClient()
    async with connected(client) as api:
        whole = await api.chat(**ASKED, logprobs=True, top_logprobs=2)
        parts = [part async for part in await api.chat(**ASKED, logprobs=True, stream=True)]
    assert [score.token for score in whole.logprobs or ()] == list(client.words)
    assert all(len(score.top_logprobs or ()) == 2 for score in whole.logprobs or ())
    assert [score.token for part in parts for score in part.logprobs or ()] == list(client.words)


async def test_who_asks_nothing_has_the_model_loaded() -> None:
    client = FakeClient()
    async with connected(client) as api:
        loaded = await api.chat(model="fake-model", messages=[])
        gone = await api.generate("fake-model", keep_alive=0)
    assert (loaded.done, loaded.done_reason) == (True, "load")
    assert (gone.done, gone.done_reason, gone.response) == (True, "unload", "")
    assert client.submitted == []


@pytest.mark.parametrize("name", ["fake-model", "fake-model:latest"])
async def test_the_model_has_its_name_with_and_without_a_tag(name: str) -> None:
    async with connected(FakeClient()) as api:
        answer = await api.chat(model=name, messages=HELLO)
        assert answer.model == name
        shown = await api.show(name)
        with pytest.raises(ollama.ResponseError, match="There is no model") as caught:
            await api.chat(model="fake-model:q4", messages=HELLO)
    assert caught.value.status_code == 404
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo is not None
    assert shown.modelinfo["fake.context_length"] == 256


async def test_what_is_served_is_listed() -> None:
    async with connected(FakeClient()) as api:
        listed, running = await api.list(), await api.ps()
    assert [model.model for model in listed.models] == ["fake-model:latest"]
    assert [model.model for model in running.models] == ["fake-model:latest"]
    assert running.models[0].context_length == 256
    assert listed.models[0].details is not None
    assert listed.models[0].details.family == "fake"


async def test_models_are_not_changed_through_it() -> None:
    async with connected(FakeClient()) as api:
        changes: list[Any] = [
            api.pull("x"), api.push("x"), api.create(model="x", from_="y"), api.copy("x", "y"),
            api.delete("x"),
        ]  # fmt: skip
        for change in changes[:4]:
            with pytest.raises(ollama.ResponseError, match="thespis serve") as caught:
                await change
            assert caught.value.status_code == 400
        with pytest.raises(ollama.ResponseError, match="thespis serve"):
            await changes[4]


async def test_errors_are_ollamas() -> None:
    client = FakeClient()
    client.refusal = Failure("overloaded", "The engine is full.", code="overloaded")
    async with connected(client) as api:
        with pytest.raises(ollama.ResponseError, match="The engine is full") as caught:
            await api.chat(**ASKED)
        assert caught.value.status_code == 429
        client.refusal, client.fail_after = None, 2
        with pytest.raises(ollama.ResponseError, match="restarted"):
            async for _ in await api.chat(**ASKED, stream=True):
                pass


async def test_who_leaves_ends_the_request() -> None:
    client = FakeClient()
    client.pace = 0.05
    async with connected(client) as api:
        stream = await api.chat(**ASKED, stream=True)
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(client.cancel_seen.wait(), 5)
    assert client.cancelled == ["r1"]


async def test_keys_are_asked_for_everywhere() -> None:
    client = FakeClient()
    async with connected(client, key="key", api_key=("key", "other")) as api:
        await api.chat(**ASKED)
        assert client.submitted[0][3]["tenant"] != ""
        url = str(api._client.base_url).rstrip("/")
        for path in ("chat", "generate", "show", "embed", "embeddings", "pull"):
            status, body, _ = await post(url, f"/api/{path}", ASKED)
            assert (status, list(body)) == (401, ["error"]), path
        async with aiohttp.ClientSession() as session:
            for path in ("tags", "ps", "version"):
                async with session.get(f"{url}/api/{path}") as response:
                    assert response.status == 401, path


@pytest.mark.parametrize("playground", [True, False])
async def test_a_client_that_looks_whether_anybody_is_there_finds_somebody(
    playground: bool,
) -> None:
    config = http_config(playground=playground)
    async with served(FakeClient(), config) as url, aiohttp.ClientSession() as session:
        async with session.head(url) as response:
            assert response.status == 200
        async with session.get(f"{url}/api/version") as response:
            assert (await response.json())["version"].count(".") == 2


AT = "messages[0]"
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("chat", {"messages": 3}, "messages: Expected"),
    ("chat", {"messages": [{}]}, f"{AT}.role: This field"),
    ("chat", {"messages": [{"role": "robot", "content": "x"}]}, f"{AT}.role: The roles"),
    ("chat", {"messages": [{"role": "user", "images": ["!"]}]}, f"{AT}.images[0]: The data is"),
    ("chat", {"messages": [{"role": "user", "images": [3]}]}, f"{AT}.images[0]: Expected"),
    ("chat", {"messages": [{"role": "assistant", "tool_calls": [{}]}]}, f"{AT}.tool_calls[0]: A"),
    ("chat", {"tools": [{"type": "x"}]}, "tools[0]: A tool is"),
    ("chat", {"options": {"temperature": "hot"}}, "options.temperature: Expected"),
    ("chat", {"options": {"temperature": -1}}, "options.temperature must be"),
    ("chat", {"options": {"mirostat": 2}}, "options.mirostat: There is no"),
    ("chat", {"options": {"tfs_z": 0.5}}, "options.tfs_z: There is no"),
    ("chat", {"options": 3}, "options: Expected"),
    ("chat", {"format": "yaml"}, "format: It is `json`"),
    ("chat", {"top_logprobs": 99}, "logprobs must be"),
    ("chat", {"think": "much"}, "think: It is true"),
    ("generate", {"suffix": "x", "prompt": "a"}, "suffix: `suffix` is not"),
    ("generate", {"template": "x", "prompt": "a"}, "template: `template` is not"),
    ("generate", {"context": [1], "prompt": "a"}, "context: `context` is not"),
    ("generate", {"raw": True, "system": "x", "prompt": "a"}, "system: A raw prompt"),
    ("embed", {}, "input: This field"),
    ("embed", {"input": "x", "dimensions": 0}, "dimensions must be"),
    ("embeddings", {}, "prompt: This field"),
]


async def test_what_is_wrong_is_said_with_its_place() -> None:
    client = FakeClient()
    async with served(client) as url:
        for path, change, told in WRONG:
            body = {**(ASKED if path == "chat" else {}), **change}
            status, answer, _ = await post(url, f"/api/{path}", body)
            assert status == 400, (change, answer)
            assert answer["error"].startswith(told), (change, answer)
    assert client.submitted == []


async def test_what_has_no_effect_is_told() -> None:
    asked = {
        **ASKED,
        "options": {"num_ctx": 8, "repeat_last_n": 64},
        "keep_alive": "5m",
        "think": True,
    }
    async with (
        served(FakeClient()) as url,
        aiohttp.ClientSession() as session,
        session.post(f"{url}/api/chat", json=asked) as response,
    ):
        told = response.headers["X-Thespis-Ignored-Fields"]
    assert sorted(told.split(", ")) == ["options.num_ctx", "options.repeat_last_n", "think"]


@pytest.mark.parametrize("stream", [False, True])
async def test_S73_thinking_has_a_field_of_its_own(stream: bool) -> None:
    words = ("<think>", "\nhm", "\n</think>\n\n", "yes")
    async with connected(saying(*words), engine={"reasoning_parser": "qwen3"}) as api:
        if stream:
            parts = [part async for part in await api.chat(**ASKED, stream=True)]
        else:
            parts = [await api.chat(**ASKED)]
    assert "".join(part.message.thinking or "" for part in parts) == "hm"
    assert "".join(part.message.content or "" for part in parts) == "yes"
