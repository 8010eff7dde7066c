"""A text of the caller's that ends an answer in the middle of a call leaves no half of a call, in
any API, streamed or whole."""

import json
from typing import Any

import pytest

from thespis.frontends.client.answer import Answer
from thespis.frontends.client.stream import Choice, Update
from thespis.frontends.openai.answers.writer import AnswerOptions
from thespis.frontends.openai.chat.writer import ChatWriter
from thespis.frontends.openai.news.reader import AnswerReader, News
from thespis.frontends.openai.news.reading import Reading
from thespis.frontends.openai.tools.definitions import ToolUse
from thespis.frontends.openai.tools.json_reader import Words
from thespis.frontends.openai.tools.tool_calls import ToolArguments, ToolCall
from thespis.protocol.requests.sampling import SamplingParams

READING = Reading(ToolUse((), {"f": {}}, "hermes"))
CALL = '<tool_call>{"name": "f", "arguments": {"a": "x"}}</tool_call>'
HALF = '<tool_call>{"name": "f", "arguments": {"path": "/tmp/'


def choices(pieces: list[str], reason: Any, stop: str | None) -> list[Choice]:
    given = [Choice(0, piece) for piece in pieces]
    given[-1].finish_reason, given[-1].stop_reason = reason, stop
    return given


def read(
    pieces: list[str], stop: str | None, reason: str = "stop", texts: tuple[str, ...] | None = None
) -> tuple[list[News], str | None]:
    reader = AnswerReader(READING, SamplingParams(stop=("END",) if texts is None else texts))
    found = [news for one in choices(pieces, reason, stop) for news in reader.read(one)]
    return found, reader.reason(reason)


def arguments(found: list[News]) -> list[str]:
    """Of each call."""
    told: list[str] = []
    for news in found:
        match news:
            case ToolCall():
                told.append("")
            case ToolArguments(_, text):
                told[-1] += text
    return told


def words(found: list[News]) -> str:
    return "".join(news.text for news in found if isinstance(news, Words))


@pytest.mark.parametrize("whole", [True, False])
def test_half_a_call_is_words(whole: bool) -> None:
    text = f"So {HALF}"
    found, reason = read([text] if whole else list(text), "END")
    assert arguments(found) == []
    assert words(found) == 'So\nf: {"path": "/tmp/'
    assert reason == "stop"


@pytest.mark.parametrize("whole", [True, False])
def test_what_is_whole_before_it_stays_a_call(whole: bool) -> None:
    text = CALL + HALF
    found, reason = read([text] if whole else list(text), "END")
    assert arguments(found) == ['{"a": "x"}']
    assert reason == "tool_calls"
    text = CALL.removesuffix("</tool_call>")  # the text stands between the arguments and the mark
    found, reason = read([text] if whole else list(text), "END")
    assert [json.loads(one) for one in arguments(found)] == [{"a": "x"}]
    assert reason == "tool_calls"


def test_other_ends_are_as_ever() -> None:
    """Half a call at the token limit is told as such, and without such texts as it comes."""
    found, reason = read([HALF], None, "length")
    assert arguments(found) == ['{"path": "/tmp/']
    assert reason == "length"
    found, _ = read(list(CALL), None, texts=())
    assert len([news for news in found if isinstance(news, ToolArguments)]) > 3
    assert [json.loads(one) for one in arguments(read(list(CALL), None)[0])] == [{"a": "x"}]


@pytest.mark.parametrize("streamed", [True, False])
def test_a_chat_answer_has_words_in_its_place(streamed: bool) -> None:
    writer = ChatWriter("r", AnswerOptions(created=0, arrival=0.0, model="m", reading=READING))
    writer.begin(0, SamplingParams(stop=("END",)))
    answer, raw = Answer(1), b""
    for choice in choices(list(HALF), "stop", "END"):
        update = Update([choice])
        if streamed:
            raw += writer.events(0, update)
        else:
            writer.gather(0, update)
            answer.add(update)
    if streamed:
        events = [json.loads(one[6:]) for one in raw.decode().split("\n\n") if one]
        told = [event["choices"][0] for event in events]
        assert not any("tool_calls" in one["delta"] for one in told)
        assert told[-1]["finish_reason"] == "stop"
        return
    (told_whole,) = json.loads(b"".join(writer.whole([answer])))["choices"]
    assert told_whole["message"]["content"] == 'f: {"path": "/tmp/'
    assert "tool_calls" not in told_whole["message"]
    assert (told_whole["finish_reason"], told_whole["stop_reason"]) == ("stop", "END")
