"""Schemas, regular expressions, grammars and choices that no answer could be guided by, or that
cost too much to compile."""

import json
from random import Random
from typing import Any

from .shot import CHAT, COMPLETIONS, Shot, chat, post

_FORMATS = (
    "date",
    "date-time",
    "uri",
    "uuid",
    "email",
    "ipv4",
    "ipv6",
    "hostname",
    "regex",
    "duration",
    "unknown",
    "\x00",
)
_PATTERNS = (
    "(a+)+$", "(a|a)*b", "(a{1,%d})", "((a{%d}){9}){9}", "[^\\x00-\\x1f]{%d}", "\\p{L}+", "(?=a)b",
    "(?<=a)b",
    "(?P<n>a)(?P=n)",
    "\\1", "\\b", "^$", "a**", "(", "[", "[z-a]", "\\", "(?i)%d", "\\u{110000}", "(?s).*", ".{%d}",
    "(a?){%d}a{%d}", "|" * 50,
    "(" * 500 + ")" * 500, "[\ud7ff-\ue000]", "\\d{%d}", "(?:%d|){99}", "x" * 20_000,
    "[a-z]|" * 2000 + "b", "", "\x00",
)  # fmt: skip
_GRAMMARS = (
    'start: start "a" | "b"',
    "start: a\na: b\nb: a",
    'start: "a"~%d',
    "start: /(a+)+$/",
    'start: "a"{%d}',
    "root ::= root",
    'root ::= "a" root | ""',
    "root ::= [",
    "start: nothing",
    "start:",
    "%%import common.WORD\nstart: WORD",
    '%%ignore " "\nstart: %d',
    '%%json {"type": "object"}\nstart: "a"',
    'start: ("a" | "b")* ' * 3,
    "start: " + "(" * 2000 + '"a"' + ")" * 2000,
    "\n".join(f"r{n}: r{n + 1} r{n + 1}" for n in range(60)) + '\nr60: "a"\nstart: r0',
    'start: "' + "a" * 20_000 + '"',
    "start: " + " | ".join(f'"{n}"' for n in range(5000)),
    "\x00",
    "",
)


def draw_guides(draw: Random, biggest: int) -> Shot:
    number = int(10 ** draw.uniform(0, 10))
    what, fields = draw.choice(
        (_by_schema, _by_schema, _by_tool, _by_regex, _by_grammar, _by_choice)
    )(draw, number)
    if draw.random() < 0.5:
        fields["stream"] = True
    if "response_format" in fields or "tools" in fields or draw.random() < 0.6:
        return post(f"{what} in chat", CHAT, {**chat("hi"), **fields})
    return post(f"{what} in completions", COMPLETIONS, {"prompt": "hi", "max_tokens": 4, **fields})


def _by_schema(draw: Random, number: int) -> tuple[str, dict[str, Any]]:
    schema = _whole_schema(draw, number)
    shown = f"schema {json.dumps(schema)[:80]}"
    match draw.randrange(4):
        case 0:
            return shown, {"guided_json": draw.choice((schema, json.dumps(schema)))}
        case 1:
            return shown, {"structured_outputs": {"json": schema}}
    named = {
        "name": draw.choice(("s", "", "a" * 500, "\u00e9")),
        "schema": schema,
        "strict": draw.choice((True, False, None)),
    }
    return shown, {"response_format": {"type": "json_schema", "json_schema": named}}


def _by_tool(draw: Random, number: int) -> tuple[str, dict[str, Any]]:
    schemas = [_whole_schema(draw, number) for _ in range(draw.choice((1, 1, 2, 60)))]
    tools = [
        {"type": "function", "function": {"name": f"f{at}", "parameters": schema}}
        for at, schema in enumerate(schemas)
    ]
    choice = draw.choice(
        ("auto", "required", "none", {"type": "function", "function": {"name": "f0"}})
    )
    return f"{len(tools)} tools, {json.dumps(schemas[0])[:60]}", {
        "tools": tools,
        "tool_choice": choice,
    }


def _by_regex(draw: Random, number: int) -> tuple[str, dict[str, Any]]:
    pattern = draw.choice(_PATTERNS).replace("%d", str(number))
    name = draw.choice(("guided_regex", "structured_outputs"))
    return f"regex {pattern[:60]!r}", {
        name: pattern if name == "guided_regex" else {"regex": pattern}
    }


def _by_grammar(draw: Random, number: int) -> tuple[str, dict[str, Any]]:
    grammar = draw.choice(_GRAMMARS).replace("%d", str(number)).replace("%%", "%")
    name = draw.choice(("guided_grammar", "structured_outputs"))
    return f"grammar {grammar[:60]!r}", {
        name: grammar if name == "guided_grammar" else {"grammar": grammar}
    }


def _by_choice(draw: Random, number: int) -> tuple[str, dict[str, Any]]:
    options: tuple[Any, ...] = (
        [],
        [""],
        ["a"] * 3000,
        [str(n) for n in range(20_000)],
        ["a" * 50_000],
        [None],
        "ab",
        ["\ud800"],
        [1],
    )
    return "choices", {"guided_choice": draw.choice(options)}


def _whole_schema(draw: Random, number: int) -> Any:
    """Of a random shape, or one of those that grow when they are read."""
    match draw.randrange(8):
        case 0:
            depth = draw.choice((5, 60, 400))
            schema: Any = {"type": "string"}
            for _ in range(depth):
                schema = (
                    {"type": "object", "properties": {"a": schema}}
                    if draw.random() < 0.7
                    else {"type": "array", "items": schema}
                )
            return schema
        case 1:
            levels = draw.choice((8, 30, 200))
            word = draw.choice(("allOf", "anyOf", "oneOf"))
            defs = {f"d{at}": {word: [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(levels)}
            return {"$defs": {**defs, f"d{levels}": {"type": "integer"}}, "$ref": "#/$defs/d0"}
        case 2:
            return draw.choice((
                {"$ref": "#"}, {"$ref": "#/$defs/none"}, {"$ref": "http://localhost/x.json"},
                {"allOf": [{"$ref": "#"}]},
                {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
                    "$ref": "#/$defs/a"}, {"$ref": 7},
                True, False, None, 7, [], "x", {}, {"type": "nothing"}, {"type": []},
                {"type": ["string", 7]}, {"enum": []},
            ))  # fmt: skip
        case 3:
            names = [f"p{at}" for at in range(draw.choice((10, 300, 5000)))]
            return {
                "type": "object",
                "properties": {name: {"type": "string"} for name in names},
                "required": names,
            }
    return _schema(draw, number, 0)


def _schema(draw: Random, number: int, depth: int) -> Any:
    kind = draw.choice(("object", "array", "string", "number", "integer", "enum", "union"))
    if depth > 4:
        return {"type": "null"}
    match kind:
        case "object":
            inner = {f"k{at}": _schema(draw, number, depth + 1) for at in range(draw.randint(0, 4))}
            more: dict[str, Any] = draw.choice((
                {}, {"additionalProperties": False}, {"additionalProperties": {"type": "string"}},
                {"required": ["none"]},
                {"patternProperties": {draw.choice(_PATTERNS): {}}}, {"minProperties": number},
                {"maxProperties": 0},
                {"propertyNames": {"maxLength": 0}}, {"dependentRequired": {"k0": ["k1"]}},
                {"unevaluatedProperties": False},
            ))  # fmt: skip
            return {"type": "object", "properties": inner, **more}
        case "array":
            bounds: dict[str, Any] = draw.choice(
                (
                    {},
                    {"minItems": number},
                    {"maxItems": number},
                    {"uniqueItems": True},
                    {"contains": {}},
                    {"minItems": -1},
                )
            )
            return {"type": "array", "items": _schema(draw, number, depth + 1), **bounds}
        case "string":
            return {"type": "string", **draw.choice((
                {"minLength": number}, {"maxLength": number},
                {"pattern": draw.choice(_PATTERNS).replace("%d", str(number))},
                {"format": draw.choice(_FORMATS)}, {"const": "a" * 5000},
                {"minLength": 2, "maxLength": 1},
            ))}  # fmt: skip
        case "number" | "integer":
            return {"type": kind, **draw.choice((
                {"minimum": number, "maximum": -number}, {"multipleOf": 1e-300}, {"multipleOf": 0},
                {"maximum": 10**400},
                {"exclusiveMinimum": 0.1, "exclusiveMaximum": 0.1000001},
                {"multipleOf": number, "minimum": 1},
                {"minimum": "a"},
            ))}  # fmt: skip
        case "enum":
            return {
                "enum": draw.choice(
                    (
                        [None, {}, [1, [2]]],
                        ["a"] * 2000,
                        list(range(5000)),
                        [1e400],
                        ["\ud800"],
                        [{"a": 1}] * 9,
                    )
                )
            }
    word = draw.choice(("anyOf", "oneOf", "allOf", "not", "if"))
    if word in ("not", "if"):
        return {word: _schema(draw, number, depth + 1)}
    return {word: [_schema(draw, number, depth + 1) for _ in range(draw.choice((1, 2, 3)))]}
