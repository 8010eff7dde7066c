"""Arguments that a model writes bare: as JSON, by the schema of their function. Pure."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

WORDS = {"True": "true", "False": "false", "None": "null"}
"""As templates write them, which print Python's values."""
KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array",
         dict: "object", type(None): "null"}  # fmt: skip
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
MOST_NESTED = 8
"""Of alternatives in a schema that are looked through."""

quoted = msgspec.json.Encoder().encode
Tell = Callable[[str], None]


def escaped(text: str) -> str:
    """As it stands within a JSON string."""
    return quoted(text).decode()[1:-1]


def kinds_of(schema: Any, depth: int = 0) -> frozenset[str] | None:
    """The JSON types that a value may have; None: the schema does not say."""
    if not isinstance(schema, dict) or depth > MOST_NESTED:
        return None
    told = schema.get("type")
    if isinstance(told, str):
        return frozenset({told})
    if isinstance(told, list):
        return frozenset(one for one in told if isinstance(one, str))
    if isinstance(listed := schema.get("enum"), list) or "const" in schema:
        values = listed if isinstance(listed, list) else [schema["const"]]
        return frozenset(KINDS.get(type(value), "string") for value in values)
    for name in ("anyOf", "oneOf"):
        if isinstance(choices := schema.get(name), list):
            found = [kinds_of(choice, depth + 1) for choice in choices]
            return None if None in found else frozenset().union(*filter(None, found))
    return None


def as_json(text: str, kinds: frozenset[str] | None) -> str:
    """What the text means as a value of one of these types; text, where it is none of them."""
    body = text.strip()
    body = WORDS.get(body, body)
    if NUMBER.fullmatch(body):
        return _number(body, kinds)
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return quoted(text).decode()
    kind = KINDS.get(type(value), "string")
    fits = kind != "string" and (kinds is None or kind in kinds)
    return body if fits else quoted(text).decode()


def _number(body: str, kinds: frozenset[str] | None) -> str:
    """However large it is."""
    whole, dot, rest = body.partition(".")
    if kinds is None or "number" in kinds or ("integer" in kinds and whole == body):
        return body
    return whole if dot and "integer" in kinds and not rest.strip("0") else quoted(body).decode()


class BareValue:
    """One argument as it comes, between two marks; a newline next to either belongs to the mark.
    What can only be text is told as it comes, anything else when it is whole."""

    def __init__(self, schema: Any, tell: Tell) -> None:
        self._kinds = kinds_of(schema)
        self._tell = tell
        self._streams = self._kinds == frozenset({"string"})
        self._whole: list[str] = []
        self._first, self._newline = True, False
        if self._streams:
            tell('"')

    def push(self, char: str) -> None:
        if self._first:
            self._first = False
            if char == "\n":
                return
        if self._newline:
            self._add("\n")
        self._newline = char == "\n"
        if not self._newline:
            self._add(char)

    def _add(self, char: str) -> None:
        if self._streams:
            self._tell(escaped(char))
        else:
            self._whole.append(char)

    def end(self) -> None:
        self._tell('"' if self._streams else as_json("".join(self._whole), self._kinds))
