"""The messages of a conversation in the OpenAI form: roles, text and content parts, each error naming its part. Pure."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec

from ..protocol.errors import refuse
from ..protocol.request import ChatMessage, Modality, Slot, Text, Url
from .embeds import read_embeds
from .media import Pending, Raw, read_encoded, read_url
from .validation import check_numbers

log = logging.getLogger(__name__)

MAX_UUID = 128
"""Characters."""
ROLE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
TEXT_TYPES = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Types of parts that are text, and the field that holds it."""
URL_TYPES: dict[str, tuple[Modality, str]] = {
    "image_url": ("image", "image_url"),
    "input_image": ("image", "image_url"),
    "video_url": ("video", "video_url"),
    "audio_url": ("audio", "audio_url"),
}
EMBED_TYPES: dict[str, Modality] = {"image_embeds": "image", "video_embeds": "video", "audio_embeds": "audio"}
RAW_TYPES: dict[str, Modality] = {"image_pil": "image", "image": "image", "video": "video", "audio": "audio"}
"""From Python callers only: PIL pictures, arrays, tensors. The field has the name of the type."""
BARE_KEYS = ("image_url", "video_url", "audio_url", "input_audio")
"""A part without a `type` that has one of these keys is of that type."""

RawReader = Callable[[Modality, Any, str], "bytes | Raw"]
"""Reads what only a Python caller can give: (modality, value, where). Raises RequestError."""


class Message(msgspec.Struct, kw_only=True):
    """One message as the caller sends it; its content parts are still plain JSON."""

    role: str
    content: str | list[Any] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class Rules(NamedTuple):
    """What a face accepts beyond what every face accepts."""

    embeds: bool = False
    """Whether ready-made embeddings are enabled."""
    raw: RawReader | None = None
    """None: the caller is another program, whose media come as text."""


OVER_HTTP = Rules()


def read_messages(messages: Sequence[Message], rules: Rules = OVER_HTTP) -> tuple[tuple[ChatMessage, ...], list[Pending]]:
    """The conversation, and its media in order. Raises RequestError that names the part."""
    if not messages:
        raise refuse("invalid_request", "There must be at least one message.", "messages", "empty_messages")
    media: list[Pending] = []
    return tuple(_read_message(m, f"messages[{i}]", media, rules) for i, m in enumerate(messages)), media


def _read_message(message: Message, where: str, media: list[Pending], rules: Rules) -> ChatMessage:
    if not ROLE.fullmatch(message.role):
        text = "A role is a word of 1 to 64 letters, digits, underscores, dots and dashes, and begins with a letter."
        raise refuse("invalid_request", text, f"{where}.role", "invalid_role")
    content: list[Text | Slot] = []
    match message.content:
        case None if message.role == "assistant":
            pass
        case None:
            raise refuse("invalid_request", "This field is required.", f"{where}.content", "missing_field")
        case str(text):
            content.append(Text(text))
        case parts:
            content.extend(_read_part(part, f"{where}.content[{i}]", media, rules) for i, part in enumerate(parts))
    extra: dict[str, Any] = {}
    if message.name is not None:
        extra["name"] = message.name
    if message.tool_call_id is not None:
        extra["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        extra["tool_calls"] = [_read_call(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(message.tool_calls)]
    # Templates know "system"; "developer" is OpenAI's newer name for the same role.
    return ChatMessage("system" if message.role == "developer" else message.role, tuple(content), extra)


def _read_call(call: dict[str, Any], where: str) -> dict[str, Any]:
    """Callers send a call's arguments as JSON text; templates want the object."""
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise refuse("invalid_request", "A tool call needs a function with a name.", where, "invalid_tool_call")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = msgspec.json.decode(arguments) if arguments.strip() else {}
        except (msgspec.DecodeError, RecursionError):
            raise refuse(
                "invalid_request", "The arguments are not valid JSON.", f"{where}.function.arguments", "invalid_tool_call"
            ) from None
    known = {**call, "function": {**function, "arguments": arguments}}
    check_numbers(known, where)
    return known


def _read_part(part: Any, where: str, media: list[Pending], rules: Rules) -> Text | Slot:
    if isinstance(part, str):
        return Text(part)
    if not isinstance(part, Mapping):
        raise refuse("invalid_request", "A content part must be an object with a `type`.", where, "wrong_type")
    kind = part.get("type")
    if kind is None:
        kind = next((key for key in (*BARE_KEYS, *EMBED_TYPES, "image_pil") if key in part), None)
        if kind is None:
            raise refuse("invalid_request", "The part has no `type`.", f"{where}.type", "missing_field")
    if not isinstance(kind, str):
        raise refuse("invalid_request", "Expected str.", f"{where}.type", "wrong_type")
    if kind in TEXT_TYPES:
        field = TEXT_TYPES[kind]
        return Text(_string(part.get(field), f"{where}.{field}"))
    media.append(_read_medium(kind, part, where, rules))
    return Slot(len(media) - 1)


def _read_medium(kind: str, part: Mapping[str, Any], where: str, rules: Rules) -> Pending:
    uuid = _read_uuid(part, where)
    if kind in URL_TYPES:
        modality, field = URL_TYPES[kind]
        return Pending(modality, _read_url_field(part, field, modality, where, uuid), where, uuid)
    if kind == "input_audio":
        return Pending("audio", _read_input_audio(part, where, uuid), where, uuid)
    if kind in EMBED_TYPES:
        return Pending(EMBED_TYPES[kind], _read_embeds(kind, part, where, rules), where, uuid)
    if kind in RAW_TYPES and rules.raw is not None:
        value = _given(part, kind, where)
        return Pending(RAW_TYPES[kind], None if value is None else rules.raw(RAW_TYPES[kind], value, where), where, uuid)
    if kind == "image_pil":
        text = "Parts of type image_pil are for LLM.chat in Python; here a picture comes as image_url."
        raise refuse("invalid_request", text, f"{where}.type", "unknown_part")
    known = ", ".join((*TEXT_TYPES, *URL_TYPES, "input_audio", *EMBED_TYPES, *(RAW_TYPES if rules.raw else ())))
    raise refuse("invalid_request", f"Unknown type of part; known: {known}.", f"{where}.type", "unknown_part")


def _given(part: Mapping[str, Any], field: str, where: str) -> Any:
    """The field's value, which may be null. Raises RequestError if both the field and a uuid are missing."""
    if field not in part and part.get("uuid") is None:
        raise refuse("invalid_request", "This field is required.", f"{where}.{field}", "missing_field")
    return part.get(field)


def _read_embeds(kind: str, part: Mapping[str, Any], where: str, rules: Rules) -> "bytes | Raw | None":
    if not rules.embeds:
        raise refuse("invalid_request", f"You must set --enable-mm-embeds to input {kind}", where, "embeds_disabled")
    value = _given(part, kind, where)
    if value is None:
        return None
    entry = value if isinstance(value, Mapping) else {kind: value}
    if rules.raw is None:
        _string(entry.get(kind), f"{where}.{kind}")
    return read_embeds(EMBED_TYPES[kind], {**part, **entry}, where)


def _read_uuid(part: Mapping[str, Any], where: str) -> str | None:
    uuid = part.get("uuid")
    if uuid is None:
        return None
    if not 1 <= len(_string(uuid, f"{where}.uuid")) <= MAX_UUID:
        raise refuse("invalid_request", f"A uuid has 1 to {MAX_UUID} characters.", f"{where}.uuid", "invalid_uuid")
    return str(uuid)


def _read_url_field(
    part: Mapping[str, Any], field: str, modality: Modality, where: str, uuid: str | None
) -> "bytes | Raw | Url | None":
    value, name, about = _given(part, field, where), field, part
    if isinstance(value, Mapping):
        about = {**part, **value}
        if value.get("detail") not in (None, "auto"):
            _warn_of_detail()
        value, name = value.get("url"), f"{field}.url"
        if value is None and uuid is None:
            raise refuse("invalid_request", "This field is required.", f"{where}.{name}", "missing_field")
    return None if value is None else read_url(_string(value, f"{where}.{name}"), modality, where, about)


@cache
def _warn_of_detail() -> None:
    """Only once: a caller that sends it sends it every time."""
    log.warning("`detail` has no effect: pictures are processed as the model wants them")


def _read_input_audio(part: Mapping[str, Any], where: str, uuid: str | None) -> bytes | None:
    value = _given(part, "input_audio", where)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise refuse("invalid_request", "Expected an object with `data` and `format`.", f"{where}.input_audio", "wrong_type")
    data = value.get("data")
    if data is None and uuid is not None:
        return None
    return read_encoded(_string(data, f"{where}.input_audio.data"), "audio", where)


def _string(value: Any, where: str) -> str:
    if value is None:
        raise refuse("invalid_request", "This field is required.", where, "missing_field")
    if not isinstance(value, str):
        raise refuse("invalid_request", "Expected str.", where, "wrong_type")
    return value
