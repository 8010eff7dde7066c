"""Blocks of a streamed answer are the same however its text is cut."""

import json
from typing import Any

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


def blocks_of(*texts: str) -> list[tuple[str, Any]]:
    """Each with what its deltas add up to."""
    writer = MessageWriter("r", OPTIONS, 64)
    choices = [Choice(0, text) for text in texts]
    choices[-1].finish_reason = "stop"
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
