"""A stream that its replica leaves in the middle goes on at another one: what the caller gets is
byte for byte what one replica says. Two replicas on one engine; Ray is not needed to lose one."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from thespis.frontends.ray.edge import AnswerPiece, CallHead, encode
from thespis.frontends.ray.relay import Relay
from thespis.frontends.ray.replica import ReplicaConfig, ServedReplica
from thespis.protocol.config.engine import EngineConfig
from thespis.protocol.config.server import ServerConfig

from ...helpers.serving import Server

pytestmark = pytest.mark.process

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "Hello, who are you?"}]
DRAWN = {"temperature": 1.0, "seed": 5, "ignore_eos": True, "stream": True}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


LAST = (b"data: [DONE]\n\n", b'{"type":"message_stop"}\n\n')
"""How a stream ends."""


class Torn(Exception):
    """As if Ray had said that a replica is dead."""


@pytest.fixture
async def replicas(demo: Server, tmp_path: Path) -> AsyncIterator[list[ServedReplica]]:
    config = ReplicaConfig(EngineConfig(), ServerConfig(max_stored_gb=0.0, playground=False))
    both = [ServedReplica(config, name) for name in "ab"]
    try:
        for replica in both:
            await replica.join(demo.run_dir, tmp_path / f"{replica._name}.sock")
        yield both
    finally:
        for replica in both:
            await replica.close()


async def said(
    replicas: Sequence[ServedReplica], path: str, body: dict[str, Any], tears: Sequence[int] = ()
) -> bytes:
    """`tears`: after so many pieces each, or before what ends the answer if it has fewer, since
    pieces that nobody reads at once are merged, the replica that speaks is lost."""
    left = list(tears)
    headers = [("Content-Type", "application/json"), ("Host", "127.0.0.1"), ("X-Request-Id", "me")]
    asked = encode(CallHead("POST", path, headers))

    async def send(so_far: bytes, avoid: Sequence[str]) -> AsyncGenerator[AnswerPiece, None]:
        replica = next(one for one in replicas if one._name not in avoid)
        last = left.pop(0) if left else None
        call = replica.call(asked, json.dumps(body).encode(), so_far)
        async with aclosing(call) as pieces:
            number = 0
            async for piece in pieces:
                number += piece[0] == "piece"
                if last is not None and (number > last or piece[2].endswith(LAST)):
                    raise Torn
                yield piece

    head, pieces = await Relay(send, True, (Torn,)).answer()
    whole = b"".join([piece async for piece in pieces])
    assert head.status == 200, whole
    assert not left, "it was torn as often as it should be"
    return whole


def without_times(body: bytes) -> list[Any]:
    """The events, but for when they were and how they were cut."""
    told = []
    for line in body.decode().split("\n"):
        if line.startswith("data: {"):
            event = json.loads(line[6:])
            event.pop("created", None)
            told.append(event)
        elif line:
            told.append(line)
    return told


def joined(events: list[Any]) -> dict[Any, Any]:
    """By choice: its text, its ids, its scores, its end, and how often it began."""
    found: dict[Any, Any] = {}
    for event in events:
        for choice in event.get("choices", ()) if isinstance(event, dict) else ():
            delta = choice.get("delta", choice)
            mine = found.setdefault(
                choice["index"], {"text": "", "ids": [], "scores": [], "ends": [], "roles": 0}
            )
            mine["text"] += delta.get("content") or delta.get("text") or ""
            mine["ids"] += choice.get("token_ids") or []
            scores = choice.get("logprobs") or {}
            mine["scores"] += scores.get("content") or scores.get("text_offset") or []
            mine["ends"] += [choice["finish_reason"]] if choice["finish_reason"] else []
            mine["roles"] += "role" in delta
    return found


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"messages": HELLO, "max_tokens": 24, "return_token_ids": True, **DRAWN}),
        (CHAT, {"messages": HELLO, "max_tokens": 12, "n": 2, "logprobs": True, **DRAWN}),
        (COMPLETIONS, {"prompt": ["Hello", "Good"], "max_tokens": 12, "logprobs": 2, **DRAWN}),
        (
            CHAT,
            {
                "messages": HELLO, "max_tokens": 24, "stream": True, "temperature": 1.0, "seed": 3,
                "response_format": {
                    "type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA},
                },
                "return_token_ids": True,
            },
        ),
    ],
)  # fmt: skip
async def test_what_is_torn_goes_on_behind_the_last_token(
    replicas: list[ServedReplica], path: str, body: dict[str, Any]
) -> None:
    right = without_times(await said(replicas, path, body))
    for tears in ([0], [1], [4], [2, 3], [1000]):
        torn = without_times(await said(replicas, path, body, tears))
        assert joined(torn) == joined(right)
        assert torn[-1] == right[-1] == "data: [DONE]"
        assert {event["id"] for event in torn if isinstance(event, dict)} == {
            event["id"] for event in right if isinstance(event, dict)
        }


async def test_an_answer_without_a_seed_goes_on_with_its_own(replicas: list[ServedReplica]) -> None:
    """Its tokens are drawn anew each time, but not in the middle of a stream: as what it says with
    the seed that was drawn."""
    body = {"messages": HELLO, "max_tokens": 16, "stream": True, "temperature": 1.0}
    body |= {"ignore_eos": True, "return_token_ids": True}
    torn = joined(without_times(await said(replicas, CHAT, body, [3])))
    assert len(torn[0]["ids"]) == 16
    assert torn[0]["roles"] == 1


def words(events: list[Any]) -> str:
    deltas = (event.get("delta", {}) for event in events if isinstance(event, dict))
    return "".join(delta.get("text", "") for delta in deltas)


async def test_messages_of_anthropic_go_on_too(replicas: list[ServedReplica]) -> None:
    body = {"model": "demo_model", "messages": HELLO, "max_tokens": 30, "stream": True}
    body["temperature"] = 0
    right = without_times(await said(replicas, "/v1/messages", body))
    torn = without_times(await said(replicas, "/v1/messages", body, [3]))
    assert words(torn) == words(right) != ""
    kinds = [event["type"] for event in torn if isinstance(event, dict)]
    assert kinds.count("message_start") == kinds.count("content_block_start") == 1
    assert kinds[-1] == "message_stop"


async def test_an_answer_that_is_whole_comes_from_the_other(replicas: list[ServedReplica]) -> None:
    body = {"messages": HELLO, "max_tokens": 8, "temperature": 0}
    one = json.loads(await said(replicas, CHAT, body))
    other = json.loads(await said(replicas, CHAT, body, [0]))
    assert one["choices"] == other["choices"]
