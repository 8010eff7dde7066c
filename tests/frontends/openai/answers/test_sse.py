"""The bytes of a stream."""

from typing import Any

import msgspec
import pytest

from thespis.frontends.client.answer import Answer
from thespis.frontends.client.stream import Choice, Update
from thespis.frontends.openai.answers.writer import AnswerOptions
from thespis.frontends.openai.chat.writer import ChatWriter
from thespis.frontends.openai.completions.writer import CompletionWriter
from thespis.frontends.openai.errors import error_event
from thespis.protocol.edges.detokenizer_to_client import Finished
from thespis.protocol.edges.scheduler_to_detokenizer import Usage
from thespis.protocol.errors import Failure

HEAD = b'data: {"id":"chatcmpl-r1","object":"chat.completion.chunk","created":12,"model":"m"'
TAIL = b'"logprobs":null,"finish_reason":null}]}\n\n'


def options(**more: Any) -> AnswerOptions:
    return AnswerOptions(created=12, arrival=12.5, model="m", **more)


def no_tokens(ids: object) -> str:
    raise AssertionError(ids)


def test_S54_the_chunks_of_a_chat_byte_for_byte() -> None:
    shape = ChatWriter("r1", options())
    assert (
        shape.first(0, (), 0)
        == HEAD + b',"choices":[{"index":0,"delta":{"role":"assistant","content":""},' + TAIL
    )
    update = Update([Choice(0, 'say "é"\n', [1])])
    text = '{"index":0,"delta":{"content":"say \\"é\\"\\n"},'.encode()
    assert shape.events(0, update) == HEAD + b',"choices":[' + text + TAIL
    end = shape.events(0, Update([Choice(0, "", [], [], "stop")]))
    assert (
        end
        == HEAD + b',"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}\n\n'
    )
    assert shape.last([Answer(0)]) == b"data: [DONE]\n\n"


def test_usage_is_null_in_every_chunk_but_the_last() -> None:
    shape = ChatWriter("r1", options(include_usage=True))
    answer = Answer(0)
    answer.note(Update([], Finished("r1", 0, Usage(4, 1, {}, 0), 2, ())))
    chunks = (
        shape.first(0, (), 0)
        + shape.events(0, Update([Choice(0, "x", [1])]))
        + shape.last([answer])
    )
    *events, done = [event.removeprefix(b"data: ") for event in chunks.split(b"\n\n")[:-1]]
    assert done == b"[DONE]"
    usages = [msgspec.json.decode(event)["usage"] for event in events]
    assert usages[:-1] == [None, None]
    assert (usages[-1]["prompt_tokens"], usages[-1]["completion_tokens"]) == (4, 2)
    assert msgspec.json.decode(events[-1])["choices"] == []


def test_held_back_text_makes_no_event_and_token_ids_do_when_asked_for() -> None:
    held = Update([Choice(0, "", [9])])
    assert ChatWriter("r1", options()).events(0, held) == b""
    assert b'"token_ids":[9]' in ChatWriter("r1", options(return_token_ids=True)).events(0, held)


def test_text_and_reason_in_one_update_become_two_chunks_in_order() -> None:
    out = ChatWriter("r1", options(n=2)).events(0, Update([Choice(1, "x", [1], [], "stop", "END")]))
    first, second = [
        msgspec.json.decode(event[6:])["choices"][0] for event in out.split(b"\n\n")[:-1]
    ]
    assert (first["index"], first["delta"], first["finish_reason"]) == (1, {"content": "x"}, None)
    assert (second["delta"], second["finish_reason"], second["stop_reason"]) == ({}, "stop", "END")


def test_a_completion_chunk_byte_for_byte() -> None:
    shape = CompletionWriter("r1", options(n=2), no_tokens)
    assert shape.first(0, (), 0) == b""
    assert shape.events(1, Update([Choice(0, "x", [1])])) == (
        b'data: {"id":"cmpl-r1","object":"text_completion","created":12,"model":"m","choices":['
        b'{"index":2,"text":"x","logprobs":null,"finish_reason":null}]}\n\n'
    )


def test_the_prompt_is_echoed_once_per_choice() -> None:
    out = CompletionWriter("r1", options(n=2, echo=("p", "q")), no_tokens).first(1, (), 0)
    found = [msgspec.json.decode(event[6:])["choices"][0] for event in out.split(b"\n\n")[:-1]]
    assert [(choice["index"], choice["text"]) for choice in found] == [(2, "q"), (3, "q")]


@pytest.mark.parametrize("kind", ["restarted", "internal"])
def test_an_error_is_an_event_of_its_own(kind: Any) -> None:
    out = error_event(Failure(kind, "words", "messages[0]", "code"))
    name, data = out.strip().split(b"\n")
    assert name == b"event: error"
    error = msgspec.json.decode(data[6:])["error"]
    assert (error["message"], error["param"], error["code"]) == (
        "messages[0]: words",
        "messages[0]",
        "code",
    )
