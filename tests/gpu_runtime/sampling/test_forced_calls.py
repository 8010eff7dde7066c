"""Answers that must call do so in the style of their model, whatever the scores are."""

import json
from typing import Any

import jsonschema
import pytest

from thespis.frontends.openai.tools.definitions import ToolUse, tool_guide
from thespis.frontends.openai.tools.json_reader import Arguments, CallStart, Words
from thespis.frontends.openai.tools.parsers import make_parser
from thespis.gpu_runtime.sampling.guiding import Guides
from thespis.protocol.chat_templates.tool_styles import Style

from .test_guiding import guides, run, start, text_of

assert guides, "a fixture"
SCHEMAS: dict[str, Any] = {
    "add": {
        "type": "object",
        "properties": {
            "a": {"type": "integer"},
            "c": {"enum": ["x y", 'say "z"']},
            "d": {"type": "array", "items": {"type": "boolean"}},
        },
        "required": ["c"],
        "additionalProperties": False,
    },
    "f.g": {"type": "object", "properties": {}, "additionalProperties": False},
    "o": {
        "type": "object",
        "properties": {"q": {"anyOf": [{"type": "null"}, {"type": "number"}]}},
        "additionalProperties": False,
    },
}
STYLES: tuple[Style, ...] = (
    "hermes", "json", "mistral", "qwen3_coder", "glm45", "gemma4", "pythonic"
)  # fmt: skip


def called(style: Style, text: str) -> tuple[str, list[tuple[str, Any]]]:
    parser = make_parser(style, SCHEMAS)
    words, calls = "", list[tuple[str, str]]()
    for event in (*parser.feed(text), *parser.finish()):
        match event:
            case Words(more):
                words += more
            case CallStart(name):
                calls.append((name, ""))
            case Arguments(piece):
                calls[-1] = (calls[-1][0], calls[-1][1] + piece)
    return words, [(name, json.loads(arguments)) for name, arguments in calls]


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("style", STYLES)
def test_S73_forced_calls_are_in_the_models_style(
    guides: Guides, style: Style, parallel: bool
) -> None:
    for names in (("add",), tuple(SCHEMAS)):
        guide = tool_guide(ToolUse((), SCHEMAS, style, names, parallel), None)
        for seed in (1, 2):
            text = text_of(run(start(guides, guide, temperature=0.5), seed, 3000))
            words, calls = called(style, text)
            assert words == ""
            assert len(calls) == 1 or (parallel and calls)
            for name, arguments in calls:
                assert name in names
                jsonschema.validate(arguments, SCHEMAS[name])
