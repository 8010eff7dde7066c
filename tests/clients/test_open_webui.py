"""What Open WebUI sends: chats with pictures and tools, speech to text, vectors for its search, and
a chat that is stopped. By hand, in its shapes, as its program is no library."""

import json
from typing import Any

import httpx
import pytest

from . import asked
from .asked import ANSWER, MODEL, SEEN

HEADERS = {"Authorization": "Bearer none", "X-OpenWebUI-User-Name": "Ann"}
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}},
    },
}


def lines(raw: str) -> list[Any]:
    told = [line.removeprefix("data: ") for line in raw.splitlines() if line.startswith("data: ")]
    assert told.pop() == "[DONE]"
    return [json.loads(line) for line in told]


@pytest.fixture
def api(url: str) -> Any:
    with httpx.Client(base_url=url, headers=HEADERS, timeout=60) as client:
        yield client


def test_chats(api: Any) -> None:
    body = {"stream": True, "model": MODEL, "messages": SEEN, "temperature": 0}
    chunks = lines(api.post("/chat/completions", json=body).text)
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == ANSWER
    more = {"tools": [TOOL], "tool_choice": "required", "max_tokens": 400}
    called = lines(api.post("/chat/completions", json={**body, **more}).text)
    deltas = [choice["delta"] for chunk in called for choice in chunk["choices"]]
    parts = [call for delta in deltas for call in delta.get("tool_calls") or ()]
    assert parts[0]["function"]["name"] == "get_weather"
    json.loads("".join(part["function"].get("arguments") or "" for part in parts))


def test_an_error_is_read_where_it_is_shown(api: Any) -> None:
    for stream in (False, True):
        body = {"stream": stream, "model": MODEL, "messages": asked.BROKEN}
        reply = api.post("/chat/completions", json=body)
        assert reply.status_code == 422
        assert reply.json()["error"]["message"]


def test_speech(api: Any) -> None:
    """Its server sends the file and the model's name, and reads `text`."""
    with asked.SOUND.open("rb") as file:
        reply = api.post(
            "/audio/transcriptions",
            data={"model": MODEL, "language": "en"},
            files={"file": (asked.SOUND.name, file)},
        )
    assert reply.status_code == 200
    assert isinstance(reply.json()["text"], str)


def test_vectors(vectors: str) -> None:
    body = {"input": ["passage: a", "passage: b"], "model": MODEL, "user": "ann"}
    reply = httpx.post(f"{vectors}/embeddings", json=body, headers=HEADERS)
    assert [len(row["embedding"]) > 0 for row in reply.json()["data"]] == [True, True]


async def test_a_chat_that_is_stopped(url: str) -> None:
    body = {"stream": True, "model": MODEL, "messages": SEEN, "max_tokens": 900, **asked.ENDLESS}
    async with (
        asked.cancelled(url),
        httpx.AsyncClient(base_url=url, headers=HEADERS) as client,
        client.stream("POST", "/chat/completions", json=body) as reply,
    ):
        async for _ in reply.aiter_lines():
            break
