"""litellm as a proxy between OpenAI's client and a server of this checkout: what comes out of it is
what the server says, whole and streamed, with media, tools and errors, and when it is left."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from . import asked
from .asked import ANSWER, HEARD, HEARD_ANSWER, MODEL, QUESTION, SEEN
from .conftest import free_port

CONFIG = """
model_list:
  - model_name: seen
    litellm_params: {{model: openai/{model}, api_base: "{url}", api_key: none}}
  - model_name: near
    litellm_params: {{model: openai/{model}, api_base: "{vectors}", api_key: none}}
litellm_settings: {{num_retries: 0, telemetry: false}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
general_settings: {{master_key: sk-proxy}}
"""
ASKED: Any = {"model": "seen", "temperature": 0, "max_tokens": 32}


@pytest.fixture(scope="module")
def proxy(url: str, vectors: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = tmp_path_factory.mktemp("proxy") / "config.yaml"
    config.write_text(CONFIG.format(model=MODEL, url=url, vectors=vectors))
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("litellm")),
        "--config", str(config), "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_DOCS": "True"}
    with (config.with_name("log").open("w") as log, subprocess.Popen(
        command, stdout=log, stderr=log, env=env, cwd=config.parent
    ) as process):  # fmt: skip
        try:
            end = time.monotonic() + 120
            while not listens(port):
                assert process.poll() is None, config.with_name("log").read_text()[-4000:]
                assert time.monotonic() < end, config.with_name("log").read_text()[-4000:]
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def listens(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness") as reply:
            return bool(reply.status == 200)
    except urllib.error.URLError:
        return False


@pytest.fixture
def api(proxy: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=proxy, api_key="sk-proxy", max_retries=0)


@pytest.mark.parametrize(
    ("messages", "answer"), [(SEEN, ANSWER), (HEARD, HEARD_ANSWER)], ids=["picture", "sound"]
)
def test_chats(api: openai.OpenAI, messages: Any, answer: str) -> None:
    whole = api.chat.completions.create(**ASKED, messages=messages)
    assert whole.choices[0].message.content == answer
    chunks = list(api.chat.completions.create(**ASKED, messages=messages, stream=True))
    said = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(said) == answer


def test_tools(api: openai.OpenAI) -> None:
    tool: Any = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}},
        },
    }
    more: Any = {**ASKED, "max_tokens": 400, "tools": [tool], "tool_choice": "required"}
    question: Any = [{"role": "user", "content": QUESTION}]
    called = api.chat.completions.create(**more, messages=question).choices[0].message
    call: Any = (called.tool_calls or [])[0]
    assert call.function.name == "get_weather"
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    again = api.chat.completions.create(**ASKED, messages=[*question, called, result])
    assert again.choices[0].finish_reason


def test_other_apis(api: openai.OpenAI, proxy: str) -> None:
    question: Any = [
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": asked.DATA, "detail": "auto"},
                {"type": "input_text", "text": QUESTION},
            ],
        }
    ]
    given: Any = {"model": "seen", "temperature": 0, "max_output_tokens": 32, "input": question}
    assert api.responses.create(**given).output_text == ANSWER
    told = api.responses.create(**given, stream=True)
    deltas = [event.delta for event in told if event.type == "response.output_text.delta"]
    assert "".join(deltas) == ANSWER
    heard = api.audio.transcriptions.create(
        model="seen", file=asked.SOUND, extra_body={"max_completion_tokens": 8}
    )
    assert isinstance(heard.text, str)
    assert len(api.embeddings.create(model="near", input=["a", "b"]).data) == 2
    source = {"type": "base64", "media_type": "image/png", "data": asked.BASE64}
    blocks = [{"type": "image", "source": source}, {"type": "text", "text": QUESTION}]
    reply = httpx.post(
        f"{proxy}/messages",
        json={**ASKED, "messages": [{"role": "user", "content": blocks}]},
        headers={"x-api-key": "sk-proxy", "anthropic-version": "2023-06-01"},
        timeout=60,
    )
    texts = [block["text"] for block in reply.json()["content"] if block["type"] == "text"]
    assert texts == [ANSWER]


async def test_errors_and_left_half_way(proxy: str, url: str) -> None:
    async with openai.AsyncOpenAI(base_url=proxy, api_key="sk-proxy", max_retries=0) as api:
        for stream in (False, True):
            with pytest.raises(openai.APIStatusError, match="picture") as raised:
                await api.chat.completions.create(**ASKED, messages=asked.BROKEN, stream=stream)
            assert raised.value.status_code in (400, 422)
        endless = {**ASKED, "max_tokens": 900, "extra_body": asked.ENDLESS}
        left = await api.chat.completions.create(**endless, messages=SEEN, stream=True)
        await asked.left_half_way(left, url)
