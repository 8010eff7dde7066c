"""Fields that other servers of this API have: each does here what it does there."""

import json
from typing import Any

import pytest

from thespis.frontends.openai.requests.chat import parse_chat
from thespis.frontends.openai.requests.schema import ChatRequest, decode

from ..fake import FakeClient, post, served, stream_bytes

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "hi"}]


def chunks(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(event[6:]) for event in raw.split(b"\n\n") if event.startswith(b"data: {")]


@pytest.mark.parametrize(
    ("old", "new", "wins"), [(3, 5, 5), (5, 3, 3), (4, 4, 4), (None, 2, 2), (2, None, 2)]
)
def test_the_newer_name_of_the_limit_wins(old: int | None, new: int | None, wins: int) -> None:
    body = {"messages": HELLO, "max_tokens": old, "max_completion_tokens": new}
    assert parse_chat(decode(ChatRequest, json.dumps(body).encode())).sampling.max_tokens == wins


@pytest.mark.parametrize("prompt", ["say", ["say", "it"]])
async def test_echo_without_an_answer_is_the_prompt_alone(prompt: Any) -> None:
    body = {"prompt": prompt, "echo": True, "max_tokens": 0, "n": 2}
    async with served(FakeClient()) as url:
        status, answer, _ = await post(
            url, COMPLETIONS, {**body, "logprobs": 1, "return_token_ids": True}
        )
        events = chunks(
            await stream_bytes(
                url,
                COMPLETIONS,
                {**body, "stream": True, "stream_options": {"include_usage": True}},
            )
        )
    assert status == 200
    texts = [text for text in ([prompt] if isinstance(prompt, str) else prompt) for _ in range(2)]
    for choice, text in zip(answer["choices"], texts, strict=True):
        assert (choice["text"], choice["finish_reason"], choice["token_ids"]) == (
            text,
            "length",
            [],
        )
        assert choice["logprobs"]["tokens"][1:] == ["p6", "p7"]
        assert choice["logprobs"]["token_logprobs"] == [None, -0.5, -0.5]
    assert answer["usage"]["completion_tokens"] == 0
    told = dict.fromkeys(range(len(texts)), "")
    for event in events:
        for choice in event["choices"]:
            told[choice["index"]] += choice["text"]
    assert list(told.values()) == texts
    assert events[-1]["usage"]["completion_tokens"] == 0


async def test_no_tokens_without_echo_are_refused() -> None:
    async with served(FakeClient()) as url:
        for path, body in ((COMPLETIONS, {"prompt": "x"}), (CHAT, {"messages": HELLO})):
            status, answer, _ = await post(url, path, {**body, "max_tokens": 0})
            assert (status, answer["error"]["param"]) == (400, "max_tokens")


@pytest.mark.parametrize(
    ("path", "body"), [(CHAT, {"messages": HELLO}), (COMPLETIONS, {"prompt": "x"})]
)
async def test_every_chunk_tells_the_usage_so_far(path: str, body: dict[str, Any]) -> None:
    async def asked(**options: Any) -> list[dict[str, Any]]:
        return chunks(
            await stream_bytes(url, path, {**body, "stream": True, "stream_options": options})
        )

    async with served(FakeClient()) as url:
        told = [
            chunk["usage"] for chunk in await asked(include_usage=True, continuous_usage_stats=True)
        ]
        assert [usage["prompt_tokens"] for usage in told] == [3] * len(told)
        counts = [usage["completion_tokens"] for usage in told]
        assert counts == sorted(counts)
        assert counts[-1] == 5
        assert all(usage["total_tokens"] == 3 + usage["completion_tokens"] for usage in told)
        assert all("usage" not in chunk for chunk in await asked(continuous_usage_stats=True))
        assert {json.dumps(chunk["usage"]) for chunk in (await asked(include_usage=True))[:-1]} == {
            "null"
        }


async def test_tokens_are_named_by_their_ids() -> None:
    async with served(FakeClient()) as url:
        more = {"return_tokens_as_token_ids": True}
        chat = (
            await post(url, CHAT, {"messages": HELLO, "logprobs": True, "top_logprobs": 2, **more})
        )[1]
        plain = (
            await post(
                url,
                COMPLETIONS,
                {"prompt": "say", "logprobs": 2, "echo": True, "max_tokens": 2, **more},
            )
        )[1]
        streamed = chunks(
            await stream_bytes(
                url, COMPLETIONS, {"prompt": "x", "logprobs": 1, "stream": True, **more}
            )
        )
    content = chat["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in content] == [f"token_id:{number}" for number in range(5)]
    assert content[1]["top_logprobs"][1]["token"] == "token_id:200"
    assert bytes(content[1]["bytes"]).decode() == " red"
    scores = plain["choices"][0]["logprobs"]
    assert scores["tokens"] == [f"token_id:{number}" for number in (5, 6, 7, 0, 1)]
    assert set(scores["top_logprobs"][4]) == {"token_id:1", "token_id:200"}
    assert scores["text_offset"][-1] == len("saya")
    told = [
        token
        for chunk in streamed
        for choice in chunk["choices"]
        for token in (choice["logprobs"] or {}).get("tokens", [])
    ]
    assert told == [f"token_id:{number}" for number in range(5)]


@pytest.mark.parametrize("id", ["a", "trace-1:2/3", "0af7651916cd43dd8448eb211c80319c", "x" * 128])
async def test_a_callers_own_id_comes_back(id: str) -> None:
    async with served(FakeClient()) as url:
        for path, body, prefix in (
            (CHAT, {"messages": HELLO}, "chatcmpl-"),
            (COMPLETIONS, {"prompt": "x"}, "cmpl-"),
        ):
            for given, headers in (
                ({"request_id": id}, {}),
                ({}, {"X-Request-Id": id}),
                ({"request_id": "no"}, {"X-Request-Id": id}),
            ):
                _, answer, told = await post(url, path, {**body, **given}, headers=headers)
                assert (answer["id"], told["X-Request-Id"]) == (f"{prefix}{id}", id)
            streamed = chunks(
                await stream_bytes(url, path, {**body, "request_id": id, "stream": True})
            )
            assert {chunk["id"] for chunk in streamed} == {f"{prefix}{id}"}


@pytest.mark.parametrize("id", ["", " a", "a b", "é", "x" * 129, '"', "a,b", "-x"])
async def test_an_id_that_is_none_is_named(id: str) -> None:
    client = FakeClient()
    async with served(client) as url:
        status, answer, _ = await post(url, CHAT, {"messages": HELLO, "request_id": id})
        assert (status, answer["error"]["param"], answer["error"]["code"]) == (
            400,
            "request_id",
            "invalid_request_id",
        )
        status, answer, _ = await post(
            url, CHAT, {"messages": HELLO}, headers={"X-Request-Id": "a b"}
        )
        assert (status, answer["error"]["param"]) == (400, "X-Request-Id")
    assert not client.submitted
