"""Grammars of calls in each style, for answers that must call. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from ....protocol.chat_templates.tool_styles import Style
from ....protocol.grammars.grammar import lark_text
from ....protocol.requests.guide import NamedSchema
from .literals import MARK
from .values import kinds_of

MAX_CALLS = 64
"""In one answer that must contain a call."""


class Around(NamedTuple):
    """How a style writes a call around the names and values in it."""

    call: tuple[str, str]
    """Before the function's name, and at the end."""
    behind_name: str
    between_calls: str
    argument: tuple[str, str, str] = ("", "", "")
    """Before its name, behind it, and behind its value."""
    between: str = ""
    """Two arguments."""
    answer: tuple[str, str] = ("", "")
    """Around all calls."""


AROUND: dict[Style, Around] = {
    "hermes": Around(('<tool_call>\n{"name": "', "}\n</tool_call>"), '", "arguments": ', "\n"),
    "json": Around(('{"name": "', "}"), '", "parameters": ', ", "),
    "mistral": Around(("[TOOL_CALLS]", ""), "[ARGS]", ""),
    "qwen3_coder": Around(
        ("<tool_call>\n<function=", "</function>\n</tool_call>"), ">\n", "\n",
        ("<parameter=", ">\n", "\n</parameter>\n"),
    ),
    "glm45": Around(
        ("<tool_call>", "</tool_call>"), "\n", "\n",
        ("<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n"),
    ),
    "gemma4": Around(("<|tool_call>call:", "}<tool_call|>"), "{", "", ("", ":", ""), ","),
    "pythonic": Around(("", ")"), "(", ", ", ("", "=", ""), ", ", ("[", "]")),
}  # fmt: skip
FREE: dict[Style, dict[str, str]] = {
    "qwen3_coder": {"string": "bare_text"},
    "glm45": {"string": "bare_text"},
    "gemma4": {"string": "own_text", "array": "own_list", "object": "own_map"},
    "pythonic": {"string": "own_text", "array": "own_list", "object": "own_map"},
}
"""Rules of values that are not written as JSON; their parts are of any type."""
NUMBERS = {
    "integer": "INTEGER",
    "number": "NUMBER",
    "boolean": "own_truth",
    "null": "own_nothing",
}
MOST_NESTED = 8
"""Lists within lists whose elements are held to their type."""
ANY = ("string", "array", "object", "integer", "number", "boolean", "null")


def calls_grammar(
    style: Style, schemas: dict[str, Any], names: Sequence[str], several: bool
) -> tuple[list[str], list[NamedSchema]]:
    """Lark rules, of which `calls` is all that the answer may be, and schemas of other rules."""
    around, found = AROUND[style], list[NamedSchema]()
    more = f" ({lark_text(around.between_calls)} call){{0,{MAX_CALLS - 1}}}"
    if not around.between_calls:
        more = f" call{{0,{MAX_CALLS - 1}}}"
    calls = f"call{more if several else ''}"
    if style == "json" and several:
        calls = f'call | "[" {calls} "]"'
    elif style == "json":
        calls = "call"
    else:
        calls = f"{_text(around.answer[0])}{calls}{_text(around.answer[1])}"
    lines = [f"calls: {calls}"]
    lines.append("call: " + " | ".join(f"call_{index}" for index in range(len(names))))
    for index, name in enumerate(names):
        head, tail = lark_text(around.call[0] + name + around.behind_name), _text(around.call[1])
        if style in FREE:
            inner, own = _arguments(style, schemas[name], index, name)
            found += own
        else:
            inner = f"arguments_{index}"
            found.append(NamedSchema(inner, f"the tool `{name}`", schemas[name]))
        lines.append(f"call_{index}: {head} {inner}{tail}")
    return [*lines, *_own_rules(style)], found


def _text(text: str) -> str:
    return f" {lark_text(text)} " if text else ""


def _arguments(
    style: Style, schema: dict[str, Any], index: int, name: str
) -> tuple[str, list[NamedSchema]]:
    """An expression for the arguments that the schema lists, in its order."""
    around, found, parts = AROUND[style], list[NamedSchema](), []
    properties, required = schema.get("properties"), schema.get("required")
    needed = frozenset(required) if isinstance(required, list) else frozenset()
    for place, (key, one) in enumerate(
        (properties if isinstance(properties, dict) else {}).items()
    ):
        value, own = _value(style, one, f"argument_{index}_{place}", name, schema)
        found += own
        before, behind, end = around.argument
        written = f"{lark_text(before + key + behind)} {value}{_text(end)}"
        parts.append((written, key in needed))
    if not around.between:
        return " ".join(f"({text}){'' if must else '?'}" for text, must in parts), found
    return _listed(parts, lark_text(around.between)), found


def _listed(parts: list[tuple[str, bool]], comma: str) -> str:
    """With commas between those that are there: from the first that is."""
    choices, rest = list[str](), ""
    for text, must in reversed(parts):
        behind = rest
        choices = [f"({text}){behind}", *([] if must else choices)]
        rest = f" ({comma} {text}){'' if must else '?'}{behind}"
    empty = all(not must for _, must in parts)
    joined = " | ".join(choices)
    return f"({joined}){'?' if empty else ''}" if choices else ""


def _value(
    style: Style, schema: Any, rule: str, function: str, whole: dict[str, Any]
) -> tuple[str, list[NamedSchema]]:
    free, own = FREE[style], list[NamedSchema]()
    chosen = schema.get("enum") if isinstance(schema, dict) else None
    if chosen and all(isinstance(one, str) for one in chosen):
        return "(" + " | ".join(lark_text(_quoted(style, one)) for one in chosen) + ")", own
    kinds = sorted(kinds_of(schema) or ANY)
    json_free = style in ("gemma4", "pythonic")
    names = [free.get(kind) or (NUMBERS[kind] if json_free else "") for kind in kinds]
    if json_free and kinds == ["array"] and rule.count("_") < MOST_NESTED:
        item, own = _value(style, schema.get("items"), f"{rule}_", function, whole)
        return f'("[" ({item} ("," " "? {item}){{0,1000}})? "]")', own
    if "" in names:  # what is written as JSON is held to its schema
        inner = schema if isinstance(schema, dict | bool) else {}
        if isinstance(inner, dict) and "string" in kinds:
            inner = {"type": [kind for kind in kinds if kind != "string"]}
        if isinstance(inner, dict):
            shared = {key: whole[key] for key in ("$defs", "definitions") if key in whole}
            inner = {**shared, **inner}
        own.append(NamedSchema(rule, f"the tool `{function}`", inner))
        names = [*filter(None, names), rule]
    return "(" + " | ".join(dict.fromkeys(names)) + ")", own


def _quoted(style: Style, text: str) -> str:
    match style:
        case "gemma4":
            return MARK + text + MARK
        case "pythonic":
            return msgspec.json.encode(text).decode()
        case _:
            return text


def _own_rules(style: Style) -> list[str]:
    """Of values that are not JSON."""
    if style not in FREE:
        return []
    close = AROUND[style].argument[2].strip()
    if close:
        pattern = close.replace("/", "\\/")
        return ["bare_text: BARE_TEXT", f"BARE_TEXT: /(?s:.*)/ & ~/(?s:.*){pattern}(?s:.*)/"]
    quote, true, false, none = lark_text(MARK), "true", "false", "null"
    text = [
        f"own_text: {quote} OWN_TEXT {quote}",
        'OWN_TEXT: /(?s:.*)/ & ~/(?s:.*)<\\|"\\|>(?s:.*)/',
    ]
    key = "KEY"
    if style == "pythonic":
        true, false, none, key = "True", "False", "None", "own_text"
        text = ["own_text: OWN_TEXT", 'OWN_TEXT: /"([^"\\\\\\n]|\\\\[nt"\\\\])*"/']
    return [
        *text,
        "KEY: /[A-Za-z_][A-Za-z0-9_]*/",
        "INTEGER: /-?(0|[1-9][0-9]{0,17})/",
        "NUMBER: /-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,17})?([eE][+-]?[0-9]{1,3})?/",
        f'own_truth: "{true}" | "{false}"',
        f'own_nothing: "{none}"',
        "own_value: own_text | NUMBER | own_truth | own_nothing | own_list | own_map",
        'own_list: "[" (own_value ("," " "? own_value){0,1000})? "]"',
        'own_map: "{" (own_pair ("," " "? own_pair){0,1000})? "}"',
        f'own_pair: {key} ":" " "? own_value',
    ]
