"""Blocks of a streamed answer are the same however its text is cut."""

import json
from collections.abc import Sequence
from typing import Any

import jiter
import pytest

from thespis.frontends.client.stream import Choice, Update
from thespis.frontends.openai.answers.writer import AnswerOptions
from thespis.frontends.openai.anthropic.writer import MessageWriter
from thespis.frontends.openai.news.reading import Reading
from thespis.frontends.openai.tools.definitions import ToolUse
from thespis.protocol.chat_templates.reasoning import MARKS

TOOLS = ToolUse((), {"f": {}}, "hermes")
OPTIONS = AnswerOptions(created=0, arrival=0.0, model="m", reading=Reading(TOOLS, MARKS["qwen3"]))
SAID = (
    '<think>Hm?</think>Well. <tool_call>{"name": "f", "arguments": {"a": "é<"}}</tool_call> So '
    '<tool_call>\n{"name": "f"}\n</tool_call>'
)


def choices_of(texts: Sequence[str], stop: str | None) -> list[Choice]:
    choices = [Choice(0, text) for text in texts]
    choices[-1].finish_reason, choices[-1].stop_reason = "stop", stop
    return choices


def blocks_of(*texts: str) -> list[tuple[str, Any]]:
    """Each with what its deltas add up to."""
    writer = MessageWriter("r", OPTIONS, 64)
    return streamed(writer, choices_of(texts, None))


def streamed(writer: MessageWriter, choices: Sequence[Choice]) -> list[tuple[str, Any]]:
    raw = b"".join(writer.events(0, Update([choice])) for choice in choices).decode()
    blocks: list[tuple[str, Any]] = []
    open: int | None = None
    for line in raw.split("\n"):
        if not line.startswith("data: "):
            continue
        event = json.loads(line[6:])
        match event["type"]:
            case "content_block_start":
                assert open is None
                open = event["index"]
                assert open == len(blocks)
                blocks.append((event["content_block"]["type"], ""))
            case "content_block_delta":
                assert event["index"] == open
                kind, text = blocks[-1]
                delta = event["delta"]
                names = ("text", "partial_json", "thinking")
                blocks[-1] = (kind, text + "".join(delta.get(name, "") for name in names))
            case "content_block_stop":
                assert event["index"] == open
                open = None
    assert open is None
    return blocks


def test_an_answer_with_calls_is_the_same_wherever_it_is_cut() -> None:
    whole = blocks_of(SAID)
    assert [kind for kind, _ in whole] == ["thinking", "text", "tool_use", "text", "tool_use"]
    assert whole[0][1] == "Hm?"
    assert [text for kind, text in whole if kind == "text"] == ["Well.", "So"]
    assert [json.loads(text) for kind, text in whole if kind == "tool_use"] == [{"a": "é<"}, {}]
    for cut in range(1, len(SAID)):
        assert blocks_of(SAID[:cut], SAID[cut:]) == whole, cut
    assert blocks_of(*SAID) == whole


WHOLE = '{"name": "f", "arguments": {"a": 1}}</tool_call>'
ENDS = {
    "whole": (WHOLE, "tool_use"),
    "broken off": ('{"name": "f", "arguments": {"a": "x', "stop_sequence"),
    "an array": ('{"name": "f", "arguments": [1, 2]}</tool_call>', "stop_sequence"),
    "a string": ('{"name": "f", "arguments": "what?"}</tool_call>', "stop_sequence"),
    "an object in a string": ('{"name": "f", "arguments": "{}"}</tool_call>', "tool_use"),
    "nothing": ('{"name": "f"}</tool_call>', "tool_use"),
    "one whole, one broken off": (f'{WHOLE}<tool_call>{{"name": "f", "arguments": {{', "tool_use"),
}
"""What follows the mark of a call, and why an answer with it ended, at a text of the caller's."""


@pytest.mark.parametrize("name", ENDS)
def test_why_an_answer_ended_is_the_same_streamed_and_whole(name: str) -> None:
    text, reason = ENDS[name]
    text = "So <tool_call>" + text
    gathered, written = MessageWriter("r", OPTIONS, 64), MessageWriter("r", OPTIONS, 64)
    for choice in choices_of(text, "STOP"):
        gathered.gather(0, Update([choice]))
    whole = json.loads(b"".join(gathered.whole([])))
    blocks = streamed(written, choices_of(text, "STOP"))
    raw = written.last([]).split(b"\n\n")[0]
    ended = json.loads(raw.partition(b"data: ")[2])["delta"]
    assert ended == {"stop_reason": reason, "stop_sequence": "STOP" if reason[0] == "s" else None}
    assert {key: whole[key] for key in ended} == ended
    if "broken off" in name:  # its block had begun
        assert blocks[-1][0] == "tool_use"
        return
    told = [one.get("text") or one.get("input") or {} for one in whole["content"]]
    read = [text if kind == "text" else json.loads(text or "{}") for kind, text in blocks]
    assert read == told
    assert [kind for kind, _ in blocks] == [one["type"] for one in whole["content"]]


@pytest.mark.parametrize(
    ("arguments", "told", "rest"),
    [
        ('{"a": 1, b}', '{"a": 1, ', "b}"),
        ("{'a': 1}", "{", "'a': 1}"),
        ('{"a": 01}', '{"a": 0', "1}"),
        ('{"a": "x\ty"}', '{"a": "x', '\ty"}'),
    ],
)
def test_a_client_can_read_what_is_streamed_of_a_call_that_is_no_json(
    arguments: str, told: str, rest: str
) -> None:
    """Anthropic's reads all that has come of an input after every piece, and raises where it is
    none."""
    text = f'<tool_call>{{"name": "f", "arguments": {arguments}}}</tool_call>'
    for pieces in ([text], list(text)):
        writer = MessageWriter("r", OPTIONS, 64)
        blocks = streamed(writer, choices_of(pieces, None))
        assert blocks == [("tool_use", told), ("text", rest)]
        jiter.from_json(told.encode(), partial_mode=True)
        assert b'"stop_reason":"end_turn"' in writer.last([])
