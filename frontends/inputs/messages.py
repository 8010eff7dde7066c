"""Messages of a conversation in the OpenAI form: roles, names and tool calls. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ...protocol.errors import invalid
from ...protocol.requests.request import ChatMessage, Slot, Text
from ..validation import check_sendable, wrong_field
from .media import Pending
from .parts import Rules, read_part
from .unread import Unread

ROLE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class GivenMessage(msgspec.Struct, kw_only=True):
    """One message as the caller sends it; its content parts are still plain JSON."""

    role: str
    content: str | list[Any] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


def read_messages(
    messages: Sequence[Mapping[str, Any]], rules: Rules, unread: Unread
) -> tuple[tuple[ChatMessage, ...], list[Pending]]:
    """The conversation, and its media in order. Raises RequestError that names the part."""
    if not messages:
        raise invalid("There must be at least one message.", "messages", "empty_messages")
    media: list[Pending] = []
    return tuple(
        _read_message(m, f"messages[{i}]", media, rules, unread) for i, m in enumerate(messages)
    ), media


def _read_message(
    given: Mapping[str, Any], where: str, media: list[Pending], rules: Rules, unread: Unread
) -> ChatMessage:
    try:
        message = msgspec.convert(given, GivenMessage)
    except msgspec.ValidationError as error:
        raise wrong_field(str(error), where) from None
    unread.check(given, GivenMessage.__struct_fields__, where)
    if not ROLE.fullmatch(message.role):
        text = (
            "A role is a word of 1 to 64 letters, digits, underscores, dots and dashes, and "
            "begins with a letter."
        )
        raise invalid(text, f"{where}.role", "invalid_role")
    content: list[Text | Slot] = []
    match message.content:
        case None if message.role == "assistant":
            pass
        case None:
            raise invalid("This field is required.", f"{where}.content", "missing_field")
        case str(text):
            content.append(Text(text))
        case parts:
            for index, part in enumerate(parts):
                content.append(read_part(part, f"{where}.content[{index}]", media, rules, unread))
    names = {"name": message.name, "tool_call_id": message.tool_call_id}
    extra: dict[str, Any] = {key: name for key, name in names.items() if name is not None}
    thought = message.reasoning_content or message.reasoning
    if thought and message.role == "assistant":
        extra |= thinking_fields(thought)
    if message.tool_calls:
        calls = enumerate(message.tool_calls)
        extra["tool_calls"] = [
            _read_call(call, f"{where}.tool_calls[{i}]", unread) for i, call in calls
        ]
    # Templates know "system"; "developer" is OpenAI's newer name for the same role.
    return ChatMessage(
        "system" if message.role == "developer" else message.role, tuple(content), extra
    )


def thinking_fields(thought: str) -> dict[str, Any]:
    """Of a turn of the assistant, by both names: templates ask for one of them."""
    return {"reasoning_content": thought, "reasoning": thought}


def read_arguments(text: str, where: str) -> dict[str, Any]:
    """Of a call, which may have none. Raises RequestError."""
    try:
        given = msgspec.json.decode(text) if text.strip() else None
    except (ValueError, RecursionError):  # also of what is not Unicode
        raise invalid("They are not valid JSON.", where, "invalid_tool_call") from None
    if not isinstance(given, dict | None):
        raise invalid("They are no JSON object.", where, "invalid_tool_call")
    return given or {}


def _read_call(call: dict[str, Any], where: str, unread: Unread) -> dict[str, Any]:
    """Callers send a call's arguments as JSON text; templates want the object."""
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise invalid("A tool call needs a function with a name.", where, "invalid_tool_call")
    unread.check(call, ("id", "type", "function", "index"), where)
    unread.check(function, ("name", "arguments"), f"{where}.function")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = read_arguments(arguments, f"{where}.function.arguments")
    known = {**call, "function": {**function, "arguments": arguments}}
    check_sendable(known, where)
    return known
