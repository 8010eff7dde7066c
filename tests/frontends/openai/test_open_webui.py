"""The requests that Open WebUI sends to an OpenAI server and to Ollama, in their shapes: for a chat
and for what it asks beside one (titles, tags, which models there are)."""

import base64
import json
from typing import Any

import aiohttp
import pytest

from .fake import FakeClient, served

TEXT = "a red circle é!"
PNG = base64.b64encode(b"picture").decode()
SAYS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
PICTURE = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        ],
    }
]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CHAT, MODEL = "/v1/chat/completions", "fake-model"
OPENAI: list[dict[str, Any]] = [
    {"stream": True, "model": MODEL, "messages": SAYS, "stream_options": {"include_usage": True}},
    {"stream": True, "model": MODEL, "messages": PICTURE},
    {
        "stream": True, "model": MODEL, "messages": SAYS, "temperature": 0.7, "top_p": 0.9,
        "seed": 7, "stop": ["END"], "frequency_penalty": 0.1, "presence_penalty": 0.1,
        "max_tokens": 64, "logit_bias": {"5": 1},
    },
    {"stream": True, "model": MODEL, "messages": SAYS, "tools": [TOOL]},
    {"stream": False, "model": MODEL, "messages": SAYS, "max_completion_tokens": 1000},
    {
        "stream": True, "model": MODEL,
        "messages": [
            *SAYS,
            {
                "role": "assistant", "content": "",
                "tool_calls": [
                    {
                        "index": 0, "id": "call_1", "type": "function",
                        "function": {"name": "get_weather", "arguments": "{\"city\": \"Oslo\"}"},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        ],
    },
]  # fmt: skip
TAGGED = "fake-model:latest"
OLLAMA: list[tuple[str, dict[str, Any]]] = [
    ("/api/chat", {"model": TAGGED, "messages": SAYS, "options": {}, "stream": True}),
    (
        "/api/chat",
        {
            "model": TAGGED, "stream": True, "keep_alive": "5m",
            "messages": [{"role": "user", "content": "What is it?", "images": [PNG]}],
            "options": {
                "temperature": 0.7, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "num_ctx": 2048,
                "num_batch": 512, "num_keep": 24, "num_predict": 128, "repeat_last_n": 64,
                "repeat_penalty": 1.1, "seed": 7, "stop": ["END"], "mirostat": 0,
                "mirostat_eta": 0.1, "mirostat_tau": 5.0, "tfs_z": 1, "num_gpu": 50,
                "num_thread": 8, "use_mmap": True, "use_mlock": False,
            },
        },
    ),
    ("/api/chat", {"model": TAGGED, "messages": SAYS, "tools": [TOOL], "stream": True}),
    ("/api/chat", {"model": TAGGED, "messages": SAYS, "format": "json", "stream": False}),
    ("/api/generate", {"model": TAGGED, "prompt": "Title?", "stream": False, "options": {}}),
    ("/api/generate", {"model": TAGGED, "prompt": "Title?", "stream": True}),
]  # fmt: skip
QUESTIONS = ["/v1/models", "/api/tags", "/api/version", "/api/ps"]


async def sent(url: str, path: str, body: dict[str, Any]) -> str:
    headers = {"Authorization": "Bearer none", "X-OpenWebUI-User-Name": "Ann"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}{path}", json=body, headers=headers) as response,
    ):
        assert response.status == 200, await response.text()
        return await response.text()


@pytest.mark.parametrize("body", OPENAI, ids=range(len(OPENAI)))
async def test_as_to_openai(body: dict[str, Any]) -> None:
    async with served(FakeClient()) as url:
        raw = await sent(url, CHAT, body)
    if not body["stream"]:
        assert json.loads(raw)["choices"][0]["message"]["content"] == TEXT
        return
    lines = [line.removeprefix("data: ") for line in raw.splitlines() if line]
    assert lines.pop() == "[DONE]"
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == TEXT


@pytest.mark.parametrize(("path", "body"), OLLAMA, ids=range(len(OLLAMA)))
async def test_as_to_ollama(path: str, body: dict[str, Any]) -> None:
    async with served(FakeClient()) as url:
        lines = [json.loads(line) for line in (await sent(url, path, body)).splitlines()]
    said = [
        line["message"]["content"] if path == "/api/chat" else line["response"] for line in lines
    ]
    assert "".join(said) == TEXT
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert body["stream"] or len(lines) == 1


async def test_what_it_asks_beside() -> None:
    async with served(FakeClient()) as url, aiohttp.ClientSession() as session:
        for path in QUESTIONS:
            async with session.get(f"{url}{path}") as response:
                assert response.status == 200
        for name in ("model", "name"):
            shown = json.loads(await sent(url, "/api/show", {name: TAGGED}))
            assert shown["details"]["family"] == "fake"
