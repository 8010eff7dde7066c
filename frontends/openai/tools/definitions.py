"""`tools` and `tool_choice`: the functions, and the grammar that enforces a call. Pure."""

import re
from typing import Any

import msgspec

from ....protocol.chat_templates.tool_styles import Style
from ....protocol.errors import invalid
from ....protocol.grammars.grammar import ANY_OBJECT
from ....protocol.requests.guide import Calls, Guide, NamedSchema, checked
from ...inputs.unread import Unread
from ...validation import check_sendable
from .forced import calls_grammar

MAX_TOOLS = 128
_DESCRIBE = frozenset({"properties", "additionalProperties", "patternProperties",
    "unevaluatedProperties", "propertyNames",
    "required", "allOf", "anyOf", "oneOf", "$ref", "enum", "const", "minProperties"})  # fmt: skip
"""Keywords that say which arguments a function takes."""
FUNCTION_KEYS = ("name", "description", "parameters", "strict", "return")
"""`return` is for the chat template, as transformers writes it."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
"""As long as at Anthropic; at OpenAI half of it."""


class ToolUse(msgspec.Struct, frozen=True):
    """What one request's answer may call."""

    definitions: tuple[dict[str, Any], ...]
    """For the chat template."""
    schemas: dict[str, Any]
    """JSON schemas of the arguments by function name."""
    style: Style
    forced: tuple[str, ...] = ()
    """One of these must be called. Empty: the model decides."""
    parallel: bool = True


def read_tools(
    tools: list[dict[str, Any]] | None,
    choice: Any,
    parallel: bool | None,
    style: Style,
    unread: Unread,
) -> ToolUse | None:
    """None: nothing may be called, and the model sees no functions. Raises RequestError 400."""
    mode, allowed = _allowed(choice, unread)
    choice = mode or choice
    if isinstance(choice, dict):
        unread.check(choice, ("type", "function"), "tool_choice")
        if isinstance(function := choice.get("function"), dict):
            unread.check(function, ("name",), "tool_choice.function")
    if not tools:
        if choice not in (None, "none", "auto"):
            raise invalid("It needs `tools`.", "tool_choice", "missing_field")
        return None
    if len(tools) > MAX_TOOLS:
        raise invalid(f"At most {MAX_TOOLS} tools.", "tools", "too_many_tools")
    check_sendable(tools, "tools")
    schemas: dict[str, Any] = {}
    for index, tool in enumerate(tools):
        name, schema = _read_tool(tool, f"tools[{index}]", unread)
        if name in schemas:
            raise invalid(
                "There are two functions of this name.", f"tools[{index}]", "invalid_tool"
            )
        schemas[name] = schema
    if allowed is not None:
        if unknown := [name for name in allowed if name not in schemas]:
            where = f"tool_choice.allowed_tools.tools[{allowed.index(unknown[0])}]"
            raise invalid("No tool has this name.", where, "unknown_tool")
        tools = [tool for tool, name in zip(tools, schemas, strict=True) if name in allowed]
        schemas = {name: schema for name, schema in schemas.items() if name in allowed}
    forced = _forced(choice, tuple(schemas))
    if forced is None:
        return None
    named = isinstance(choice, dict)  # it is called once
    return ToolUse(tuple(tools), schemas, style, forced, parallel is not False and not named)


def _allowed(choice: Any, unread: Unread) -> tuple[str | None, list[str] | None]:
    """The mode of a choice that names the functions which may be called, and their names: the
    model is shown these alone. Raises RequestError 400."""
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return None, None
    where = "tool_choice.allowed_tools"
    unread.check(choice, ("type", "allowed_tools"), "tool_choice")
    given = choice.get("allowed_tools")
    if not isinstance(given, dict) or given.get("mode") not in ("auto", "required"):
        raise invalid("Its mode is auto or required.", f"{where}.mode", "unsupported")
    unread.check(given, ("mode", "tools"), where)
    named, tools = [], given.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        function = tool.get("function") if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str):
            raise invalid(
                "A tool is named by its function.", f"{where}.tools[{index}]", "invalid_tool"
            )
        named.append(name)
    if len(named) > MAX_TOOLS:
        raise invalid(f"At most {MAX_TOOLS} tools.", f"{where}.tools", "too_many_tools")
    if not named:
        raise invalid("It names no tool.", f"{where}.tools", "missing_field")
    return str(given["mode"]), named


def _read_tool(tool: dict[str, Any], where: str, unread: Unread) -> tuple[str, Any]:
    function = tool.get("function")
    unread.check(tool, ("type", "function"), where)
    if tool.get("type", "function") != "function" or not isinstance(function, dict):
        raise invalid("A tool is of type `function` and has a `function`.", where, "invalid_tool")
    unread.check(function, FUNCTION_KEYS, f"{where}.function")
    name, schema = function.get("name"), function.get("parameters")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        text = "A name has 1 to 128 letters, digits, underscores, dots and dashes."
        raise invalid(text, f"{where}.function.name", "invalid_tool")
    if schema is not None and not isinstance(schema, dict):
        raise invalid("Expected a JSON schema.", f"{where}.function.parameters", "invalid_tool")
    return name, _arguments(schema or {})


def _arguments(schema: dict[str, Any]) -> dict[str, Any]:
    """An object, and an empty one where the tool says of no argument that it takes it."""
    if schema.get("type", "object") == "object" and not schema.keys() & _DESCRIBE:
        return {**schema, "type": "object", "properties": {}, "additionalProperties": False}
    return {"type": "object", **schema}


def _forced(choice: Any, names: tuple[str, ...]) -> tuple[str, ...] | None:
    match choice:
        case None | "auto":
            return ()
        case "none":
            return None
        case "required":
            return names
        case {"type": "function", "function": {"name": str(name)}}:
            if name not in names:
                raise invalid("No tool has this name.", "tool_choice.function.name", "unknown_tool")
            return (name,)
    raise invalid("It is none, auto, required, or names a function.", "tool_choice", "unsupported")


def tool_guide(tools: ToolUse, wanted: Guide | None) -> Guide | None:
    """What the answer must look like: calls if forced, otherwise calls or what `wanted` says."""
    names, schemas = tools.forced or tuple(tools.schemas), []
    if tools.forced:
        start = "start: calls"
    elif wanted is None:
        return None
    elif wanted.kind in ("json_object", "json_schema"):
        start = "start: calls | answer"
        schema = msgspec.json.decode(wanted.text) if wanted.text else ANY_OBJECT
        schemas = [NamedSchema("answer", "the response format", schema)]
    else:
        text = "With tools that the model may call or not, an answer is guided by JSON only."
        raise invalid(text, "tools", "contradicting_fields")
    lines, own = calls_grammar(tools.style, tools.schemas, names, tools.parallel)
    calls = Calls("\n".join([start, *lines]), (*schemas, *own))
    try:
        return checked(Guide("tool_calls", msgspec.json.encode(calls).decode(), part="tools"))
    except ValueError:
        raise invalid(
            "The tools' schemas are too large or too deep.", "tools", "invalid_grammar"
        ) from None
