"""Ollama's official client on real processes: for the same conversation it gets the answer that a
chat completion gets, streamed and not, with pictures, formats, tools and errors."""

import json
from collections.abc import Iterator
from typing import Any

import ollama
import pytest

from ..helpers.media import data_url, picture, png
from ..helpers.serving import Server
from .faces import ALICE

pytestmark = pytest.mark.process

PNG = png(picture(7))
GREEDY = {"temperature": 0, "num_predict": 12, "num_ctx": 4096}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"sky": {"enum": ["clear", "grey"]}},
    "required": ["sky"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[ollama.Client]:
    client = ollama.Client(host=server.url, headers={"Authorization": f"Bearer {ALICE}"})
    yield client
    client._client.close()


def expected(server: Server, messages: list[Any], **more: Any) -> dict[str, Any]:
    body = {"messages": messages, "max_tokens": 12, "temperature": 0, **more}
    reply = server.ask("/v1/chat/completions", body)
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.body
    return found


def test_S72_chat_and_generate_with_pictures(server: Server, api: ollama.Client) -> None:
    seen = {"type": "image_url", "image_url": {"url": data_url("image/png", PNG)}}
    parts = [seen, {"type": "text", "text": "What is it?"}]
    system = {"role": "system", "content": "Be brief."}
    chat = expected(server, [system, {"role": "user", "content": parts}])
    answer = chat["choices"][0]["message"]["content"]
    messages: Any = [system, {"role": "user", "content": "What is it?", "images": [PNG]}]
    asked: Any = {"model": "tiny", "messages": messages, "options": GREEDY}
    whole = api.chat(**asked)
    assert whole.message.content == answer
    assert whole.prompt_eval_count == chat["usage"]["prompt_tokens"]
    assert (whole.eval_count, whole.done_reason) == (12, "length")
    assert (whole.total_duration or 0) > (whole.eval_duration or 0) > 0
    pieces = list(api.chat(**asked, stream=True))
    assert "".join(piece.message.content or "" for piece in pieces) == answer
    assert pieces[-1].eval_count == 12
    made = api.generate(
        "tiny", "What is it?", system="Be brief.", images=[PNG], options=GREEDY, keep_alive="5m"
    )
    assert made.response == answer
    for piece in api.generate("tiny", "hello", stream=True, options=GREEDY):
        assert piece.response is not None
        break  # cancelled half way


def test_S72_an_answer_is_held_to_its_format(api: ollama.Client) -> None:
    asked: Any = {"model": "tiny", "messages": [{"role": "user", "content": "the sky?"}]}
    said = api.chat(**asked, format=SCHEMA, options={"num_predict": 100, "seed": 1})
    assert json.loads(said.message.content or "")["sky"] in ("clear", "grey")


def test_S72_results_of_tools_are_read(server: Server, api: ollama.Client) -> None:
    """Whether a random model calls is its own affair: what is shown is what it is told."""
    function = {"name": "look", "description": "Looks.", "parameters": SCHEMA}
    tools: Any = [{"type": "function", "function": function}]
    call = {"function": {"name": "look", "arguments": {"sky": "grey"}}}
    question = {"role": "user", "content": "the sky?"}
    chat = expected(
        server,
        [
            question,
            {"role": "assistant", "content": "", "tool_calls": [{"type": "function", **call}]},
            {"role": "tool", "content": "grey", "name": "look"},
        ],
        tools=tools,
    )
    messages: Any = [
        question,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "grey", "tool_name": "look"},
    ]
    answer = api.chat(model="tiny", messages=messages, tools=tools, options=GREEDY)
    assert answer.message.content == chat["choices"][0]["message"]["content"]
    assert answer.prompt_eval_count == chat["usage"]["prompt_tokens"]


def test_S72_the_model_is_listed_and_shown_and_not_changed(api: ollama.Client) -> None:
    assert [model.model for model in api.list().models] == ["tiny:latest"]
    assert [model.model for model in api.ps().models] == ["tiny:latest"]
    shown = api.show("tiny:latest")
    assert {"completion", "vision", "audio"} <= set(shown.capabilities or ())
    with pytest.raises(ollama.ResponseError, match="thespis serve"):
        api.pull("llama3")
    with pytest.raises(ollama.ResponseError, match="There is no model 'llama3' here"):
        api.generate("llama3", "hi")
    stranger = ollama.Client(host=str(api._client.base_url))
    with pytest.raises(ollama.ResponseError, match="key"):
        stranger.list()
    stranger._client.close()
