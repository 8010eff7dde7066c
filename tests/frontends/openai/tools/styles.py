"""Calls as templates of each style write them, and what others read in them."""

import ast
import json
from typing import Any

from transformers.utils.chat_parsing.content_parsers import parse_content

from thespis.frontends.openai.tools.json_reader import Arguments, CallStart, Words
from thespis.frontends.openai.tools.parsers import make_parser
from thespis.protocol.chat_templates.tool_styles import Style

SCHEMAS: dict[str, Any] = {
    name: {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "code": {"type": ["string"]},
            "n": {"type": "integer"},
            "x": {"type": "number"},
            "on": {"type": "boolean"},
            "none": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
            "list": {"type": "array"},
            "map": {"type": "object"},
        },
    }
    for name in ("add", "look_up", "fs.write-file")
}
Calls = list[tuple[str, Any]]
ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"n": 1},
    {"n": -7, "x": 2.5, "on": True, "none": None},
    {"text": ""},
    {"text": "plain"},
    {"text": " spaced  out "},
    {"text": "two\nlines\n\nand more"},
    {"text": 'say "hi", it\'s \\ here \\n'},
    {"text": "123", "code": "true"},
    {"text": "null", "code": "None"},
    {"text": "&lt;b&gt; &amp; <b>bold</b> </b>"},
    {"text": "é 日本語 👍🏽 \u202e"},
    {"text": "tab\tand \u0001 control"},
    {"code": "def f(a, *, b=1):\n    return {'a': [a, b]}\n# )]}"},
    {"text": "{[(,:=>", "code": ")]}"},
    {"list": [1, "two", None, [3, {"four": 5}], True]},
    {"map": {"a": {"b": {"c": "deep, [\"x\"]"}}, "empty": {}, "none": []}},
    {"x": 1e-05, "n": 12345678901234567890},
    {"text": "<", "code": "<|"},
    {"text": "[add(a=1)]", "n": 2},
    {"text": "<think>no</think>", "code": "</param </arg_val <|tool"},
    {"map": {"x": [[], [[1]], {}], "y": -0.5}},
]  # fmt: skip
SEVERAL: list[Calls] = [
    [("add", {"n": 1}), ("add", {"n": 2})],
    [("add", {}), ("look_up", {"text": "x"}), ("fs.write-file", {"code": "a\nb"})],
]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _tagged(value: Any) -> str:
    """As Gemma's template writes a value."""
    if isinstance(value, str):
        return f'<|"|>{value}<|"|>'
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_tagged(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_tagged, value)) + "]"
    return json.dumps(value)


def written(style: Style, calls: Calls) -> str:
    """As the model's own template gives calls back to it."""
    match style:
        case "qwen3_coder":
            return "\n".join(
                f"<tool_call>\n<function={name}>\n"
                + "".join(f"<parameter={k}>\n{_plain(v)}\n</parameter>\n" for k, v in given.items())
                + "</function>\n</tool_call>"
                for name, given in calls
            )
        case "glm45":
            return "\n".join(
                f"<tool_call>{name}\n"
                + "".join(
                    f"<arg_key>{k}</arg_key>\n<arg_value>{_plain(v)}</arg_value>\n"
                    for k, v in given.items()
                )
                + "</tool_call>"
                for name, given in calls
            )
        case "mistral":
            return "".join(f"[TOOL_CALLS]{name}[ARGS]{json.dumps(given)}" for name, given in calls)
        case "gemma4":
            return "".join(
                f"<|tool_call>call:{name}{_tagged(given)}<tool_call|>" for name, given in calls
            )
        case "pythonic":
            told = (
                f"{name}({', '.join(f'{k}={v!r}' for k, v in given.items())})"
                for name, given in calls
            )
            return f"[{', '.join(told)}]"
        case "json":
            told = (json.dumps({"name": n, "parameters": given}) for n, given in calls)
            return "; ".join(told)
        case "hermes":
            return "\n".join(
                f"<tool_call>\n{json.dumps({'name': n, 'arguments': given})}\n</tool_call>"
                for n, given in calls
            )


def read(style: Style, *pieces: str) -> tuple[str, list[tuple[str, str]]]:
    """Text and calls, whatever the pieces."""
    parser = make_parser(style, SCHEMAS)
    text, calls = "", []
    for event in [e for piece in pieces for e in parser.feed(piece)] + parser.finish():
        match event:
            case Words(words):
                text += words
            case CallStart(name):
                calls.append((name, ""))
            case Arguments(piece):
                calls[-1] = (calls[-1][0], calls[-1][1] + piece)
    return text, calls


def others(style: Style, text: str) -> Any:
    """What readers that are not ours find in the first call's arguments; None: there is none."""
    match style:
        case "gemma4" if "\u0001" in text:
            return None  # which that reader does not take
        case "gemma4":
            body = text[text.index("{") : text.rindex("}") + 1]
            given = {"string_delims": [['<|"|>', '<|"|>']], "unquoted_keys": True}
            return parse_content(body, "json", given)
        case "qwen3_coder":
            pattern = r"<parameter=(?P<key>[^>]+)>\n(?P<value>.*?)\n</parameter>"
            return parse_content(text, "xml-inline", {"tag_pattern": pattern})
        case "glm45":
            pattern = r"<arg_key>(?P<key>.*?)</arg_key>\s*<arg_value>(?P<value>.*?)</arg_value>"
            return parse_content(text, "xml-inline", {"tag_pattern": pattern})
        case "pythonic":
            (call, *_) = ast.parse(text, mode="eval").body.elts  # type: ignore[attr-defined]
            return {word.arg: ast.literal_eval(word.value) for word in call.keywords}
        case _:
            return None
