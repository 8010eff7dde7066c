"""A guide as a grammar: Lark text, as the grammar engine reads it. Pure; what cannot be said in one
is a GuideError."""

import json
from typing import Any

import msgspec

from ..requests.guide import Calls, Guide
from .json_schema.document import SchemaError
from .json_schema.enforce import enforceable
from .regex.parse import PatternError
from .regex.text import as_whole

WHITESPACE = r"[ \t\r\n]{0,32}"
"""Between the parts of JSON: free, but not without end, since a model may find no way out of it."""
ANY_OBJECT: dict[str, Any] = {"type": "object"}


class GuideError(ValueError):
    """Its text is a sentence for the caller."""


def grammar_of(guide: Guide) -> str:
    """The guide in the JSON form that llguidance reads; `grammar` must be Lark by now. Raises
    GuideError."""
    return json.dumps({"grammars": [{"lark_grammar": lark_of(guide)}]}, ensure_ascii=False)


def lark_of(guide: Guide) -> str:
    """Raises GuideError."""
    match guide.kind:
        case "json_object":
            return "start: " + _lark_schema(ANY_OBJECT, "")
        case "json_schema":
            return "start: " + _lark_schema(json.loads(guide.text), "")
        case "regex":
            return f"start: TEXT\nTEXT: {_lark_regex(guide.text)}"
        case "choice":
            return "start: " + " | ".join(lark_text(text) for text in json.loads(guide.text))
        case "tool_calls":
            calls = msgspec.json.decode(guide.text, type=Calls)
            rules = (f"{one.rule}: {_lark_schema(one.schema, one.owner)}" for one in calls.schemas)
            return "\n".join([calls.lark, *rules])
        case "grammar":
            return guide.text


def schemas_of(guide: Guide) -> list[tuple[str, str]]:
    """Of calls, which may fail for one of several schemas: each schema's owner, and a grammar of it
    alone."""
    if guide.kind != "tool_calls":
        return []
    calls = msgspec.json.decode(guide.text, type=Calls)
    return [(one.owner, f"start: {_lark_schema(one.schema, one.owner)}") for one in calls.schemas]


def lark_text(text: str) -> str:
    """A Lark literal that stands for exactly this text."""
    return json.dumps(text, ensure_ascii=False)


def _lark_schema(schema: Any, owner: str) -> str:
    """A Lark expression for JSON that fits the schema."""
    try:
        made = enforceable(schema)
    except SchemaError as error:
        raise GuideError(f"The JSON schema{owner and f' of {owner}'} {error}.") from None
    if made is True:
        made = {}
    if isinstance(made, dict):  # with our own rule for whitespace, whatever the caller's says
        made = {**made, "x-guidance": {"whitespace_pattern": WHITESPACE}}
    return "%json " + json.dumps(made, ensure_ascii=False)


def _lark_regex(pattern: str) -> str:
    """A Lark expression for texts that the pattern matches from end to end."""
    try:
        return " & ".join(f"/{text or '()'}/" for text in as_whole(pattern))
    except PatternError as error:
        raise GuideError(f"The regular expression {error}.") from None
