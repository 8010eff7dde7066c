"""What an answer must look like: data and cheap checks; the grammar engine is where tokens are."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import msgspec

from ..wire import Record

GuideKind = Literal["json_object", "json_schema", "regex", "choice", "grammar", "tool_calls"]

MAX_TEXT = 128 << 10
"""Characters of a schema, pattern or grammar."""
MAX_DEPTH = 64
"""Brackets within brackets in any of them."""
MAX_CHOICES = 1024


class Guide(Record, frozen=True):
    """The one form in which every kind travels. `as_guide` makes it."""

    kind: GuideKind
    text: str = ""
    """JSON of the schema; the pattern; a JSON list of the choices; the grammar, Lark or GBNF; JSON
    of `Calls`; empty for json_object."""
    first_seconds: float = 0.0
    """Processor time until its first token, and for each further one, as a worker measured it."""
    each_seconds: float = 0.0
    part: str = "structured_outputs"
    """The field that it came from, in the caller's words."""


class NamedSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rule: str
    """Of the grammar: what fits the schema."""
    owner: str
    """What an error calls it, such as a tool by its name."""
    schema: Any


class Calls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Lark grammar with rules that are schemas: an answer that calls tools."""

    lark: str
    schemas: tuple[NamedSchema, ...]


@dataclass(frozen=True, kw_only=True)
class StructuredOutputsParams:
    """What an answer must be, by exactly one of these. Raises ValueError naming the field."""

    json: Any = None
    """A JSON schema: its text, a dict, a bool or a pydantic class."""
    regex: str | None = None
    """A regular expression for the whole answer."""
    choice: Iterable[str] | None = None
    grammar: str | None = None
    """Lark or GBNF."""
    json_object: bool | None = None
    """Any JSON object."""

    def __post_init__(self) -> None:
        if isinstance(self.choice, Iterator):  # it is read here, and again by who takes it
            object.__setattr__(self, "choice", tuple(self.choice))
        guide_of(**vars(self))


FIELDS = tuple(field.name for field in fields(StructuredOutputsParams))


def as_guide(given: Any) -> Guide | None:
    """What callers write: a StructuredOutputsParams or its fields as a dict; or a Guide. Raises
    ValueError."""
    if given is None or isinstance(given, Guide):
        return given
    if isinstance(given, StructuredOutputsParams):
        return guide_of(**vars(given))
    if not isinstance(given, Mapping):
        raise ValueError(
            "structured_outputs must be a StructuredOutputsParams or a dict of its fields."
        )
    return guide_of(**{str(name): value for name, value in given.items()})


def guide_of(**given: Any) -> Guide:
    """From the fields of a StructuredOutputsParams. Raises ValueError."""
    named = {name: value for name, value in given.items() if value is not None}
    if not isinstance(named.get("json_object", True), bool):  # 0 would be taken for True
        raise ValueError("structured_outputs.json_object must be True or False.")
    if named.get("json_object") is False:
        del named["json_object"]
    if strange := next((name for name in named if name not in FIELDS), None):
        raise ValueError(
            f"structured_outputs knows json, regex, choice, grammar and json_object, not "
            f"{strange[:80]!r}."
        )
    if len(named) != 1:
        told = " and ".join(name for name in FIELDS if name in named) or "none"
        raise ValueError(
            f"structured_outputs takes exactly one of {', '.join(FIELDS)}; got {told}."
        )
    ((name, value),) = named.items()
    match name:
        case "json":
            return checked(Guide("json_schema", _schema_text(value)))
        case "choice":
            return checked(Guide("choice", _choices_text(value)))
        case "json_object":
            return Guide("json_object")
        case "regex":
            return checked(Guide("regex", _text(value, name)))
        case _:
            return checked(Guide("grammar", _text(value, name)))


def checked(guide: Guide) -> Guide:
    """The guide, if its size lets it be looked at. Raises ValueError."""
    _check_length(guide.text)
    is_json = guide.kind in ("json_schema", "tool_calls")
    nested = _depth_of_value(json.loads(guide.text)) if is_json else _depth_of_text(guide.text)
    if guide.kind != "choice" and nested > MAX_DEPTH:
        raise ValueError(f"structured_outputs nests deeper than {MAX_DEPTH} brackets.")
    return guide


def needs_check(guide: Guide) -> bool:
    """Whether only the grammar engine can say that it is one."""
    return guide.kind in ("json_schema", "regex", "grammar", "tool_calls")


def _check_length(text: str) -> None:
    if len(text) > MAX_TEXT:
        raise ValueError(
            f"structured_outputs has {len(text)} characters, at most {MAX_TEXT} are taken."
        )


def _schema_text(schema: Any) -> str:
    if isinstance(schema, type) and hasattr(schema, "model_json_schema"):
        schema = schema.model_json_schema()
    if isinstance(schema, str):
        _check_length(schema)
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError):
            raise ValueError(
                "structured_outputs.json must be a JSON schema; its text is no valid JSON."
            ) from None
    if not isinstance(schema, Mapping | bool):
        raise ValueError(
            "structured_outputs.json must be a JSON schema: an object, its text, or a pydantic "
            "class."
        )
    try:
        return json.dumps(schema, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("structured_outputs.json must hold JSON values only.") from None


def _choices_text(choices: Any) -> str:
    if isinstance(choices, str) or not isinstance(choices, Iterable):
        raise ValueError("structured_outputs.choice must be a list of texts.")
    texts = list(choices)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("structured_outputs.choice must be a list of texts.")
    if not texts or "" in texts:
        raise ValueError("structured_outputs.choice must hold at least one text, and no empty one.")
    if len(texts) > MAX_CHOICES:
        raise ValueError(
            f"structured_outputs.choice has {len(texts)} texts, at most {MAX_CHOICES} are taken."
        )
    return json.dumps(texts, ensure_ascii=False)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"structured_outputs.{name} must be a text that is not empty.")
    return value


def _depth_of_text(text: str) -> int:
    """The deepest nesting of brackets that are not escaped: bounds the recursion of a reader."""
    depth = deepest = 0
    escaped = False
    for char in text:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in ")]}":
            depth = max(0, depth - 1)
    return deepest


def _depth_of_value(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        inner = [v for v in level if isinstance(v, dict | list)]
        depth += bool(inner)
        level = [child for v in inner for child in (v.values() if isinstance(v, dict) else v)]
    return depth
