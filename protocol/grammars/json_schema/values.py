"""The keywords that say something of one value, each checked and written as the grammar engine
takes it."""

import json
from collections.abc import Iterator
from itertools import permutations
from typing import Any

from ..regex.parse import PatternError
from ..regex.text import as_search
from .document import SchemaError, unsupported, wrong

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_MOMENTS = ("date-time", "date", "time", "duration")
FORMATS = (*_MOMENTS, "email", "hostname", "ipv4", "ipv6", "uuid", "uri")
"""Formats that are enforced, though JSON Schema asks for none to be."""
FORMAT_ROOM = 64
"""Characters that a text must have room for if its format is to be enforced."""
MAX_UNIQUE = 5
"""Distinct values whose arrays without repetitions are listed."""
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_WIDEST = {"integer": 10**18, "number": 10**15}
"""Bounds that lie further out are brought here; the engine writes none of them."""


def value_keywords(schema: dict[str, Any], where: str) -> dict[str, Any]:
    """Raises SchemaError for what is not valid."""
    out: dict[str, Any] = {}
    if "type" in schema:
        out["type"] = _type(schema["type"], where)
    if "const" in schema:
        out["const"] = schema["const"]
    if "enum" in schema:
        out["enum"] = _enum(schema["enum"], where)
    for word in _COUNTS:
        count = _count(schema.get(word), word, where)
        if count is not None and (count or word.startswith("max")):
            out[word] = count
    out.update(_bounds(schema, where))
    if "pattern" in schema:
        first, *more = patterns(schema["pattern"], "pattern", where)
        out["pattern"] = first
        if more:
            out["allOf"] = [{"pattern": pattern} for pattern in more]
    elif _has_format(schema) and out.get("maxLength", FORMAT_ROOM) >= FORMAT_ROOM:
        out["format"] = schema["format"]
    return out


def _has_format(schema: dict[str, Any]) -> bool:
    return schema.get("format") in FORMATS and not schema.keys() & {"enum", "const"}


def patterns(value: Any, keyword: str, where: str) -> list[str]:
    """Anchored ones, all of which a text must match."""
    if not isinstance(value, str):
        raise wrong(keyword, "a regular expression", where)
    try:
        return [f"^(?:{text})$" for text in as_search(value)]
    except PatternError as error:
        raise SchemaError(f"has a `{keyword}` that {error}", where) from None


def _type(value: Any, where: str) -> Any:
    names = value if isinstance(value, list) else [value]
    for name in names:
        if name not in TYPES:
            shown = "".join(char for char in str(name) if char.isalnum() or char in "_-.")[:64]
            raise SchemaError(f"names the type {shown}, which JSON does not have", where)
    if not names:
        raise SchemaError("is one that no value fits: its `type` is empty", where)
    return value


def _enum(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise wrong("enum", "a list", where)
    if not value:
        raise SchemaError("is one that no value fits: its `enum` is empty", where)
    return value


def _count(value: Any, word: str, where: str) -> int | None:
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or value < 0 or value != int(value):
        raise wrong(word, "a whole number, not negative", where)
    return int(value)


def _bounds(schema: dict[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    """`exclusiveMinimum` may be a boolean beside `minimum`, as drafts before the sixth and OpenAPI
    have it."""
    furthest = _WIDEST["integer" if schema.get("type") == "integer" else "number"]
    for word, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        strict = schema.get(exclusive)
        for name in (word, exclusive):
            value = schema.get(name)
            if value is None or (isinstance(value, bool) and name == exclusive):
                continue
            value = _number(value, name, where)
            if abs(value) > furthest:
                if (value > 0) == (word == "minimum"):
                    raise SchemaError(f"has a `{name}` that is too far out to be enforced", where)
                value = furthest if value > 0 else -furthest
            yield (exclusive if name == word and strict is True else name), value
    if schema.get("multipleOf") is not None:
        step = _number(schema["multipleOf"], "multipleOf", where)
        if step <= 0:
            raise wrong("multipleOf", "above 0", where)
        yield "multipleOf", step


def _number(value: Any, name: str, where: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(name, "a number", where)
    return int(value) if value == value // 1 and abs(value) < 1e300 else value


def unique(schema: dict[str, Any], items: Any, where: str) -> list[Any] | None:
    """What `uniqueItems` leaves of an array: None, if all; otherwise every array of the few values
    that its items have."""
    value = schema.get("uniqueItems", False)
    if not isinstance(value, bool):
        raise wrong("uniqueItems", "true or false", where)
    arrays_only = schema.get("type", "array") in ("array", ["array", "null"])
    if not value or not arrays_only or schema.get("maxItems") in (0, 1):
        return None
    listed = _listed(items)
    if listed is None or len(listed) > MAX_UNIQUE:
        raise unsupported("uniqueItems", where)
    low = _count(schema.get("minItems"), "minItems", where) or 0
    high = _count(schema.get("maxItems", len(listed)), "maxItems", where) or 0
    sizes = range(low, min(high, len(listed)) + 1)
    arrays: list[Any] = [list(one) for size in sizes for one in permutations(listed, size)]
    return [*arrays, None] if schema.get("type") == ["array", "null"] else arrays


def _listed(items: Any) -> list[Any] | None:
    if not isinstance(items, dict):
        return None
    if items.get("type") == "boolean":
        return [False, True]
    values = [items["const"]] if "const" in items else items.get("enum")
    if not isinstance(values, list):
        return None
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())
