"""A conversation as a file: JSON, nothing in it is run or fetched, and no more is read than there
may be."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import msgspec

from ....protocol.errors import EngineError
from ..files import MOST_BYTES, read, reason
from .settings import SettingError, Settings, settings_of

FORM = 1
MOST_MESSAGES = 100_000


class _Part(msgspec.Struct, tag_field="type", forbid_unknown_fields=True):
    pass


class _Text(_Part, tag="text"):
    text: str


class _Url(msgspec.Struct, forbid_unknown_fields=True):
    url: str


class _Image(_Part, tag="image_url"):
    image_url: _Url


class _Video(_Part, tag="video_url"):
    video_url: _Url


class _Audio(_Part, tag="audio_url"):
    audio_url: _Url


class _Data(msgspec.Struct, forbid_unknown_fields=True):
    file_data: str
    filename: str


class _Document(_Part, tag="file"):
    file: _Data


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["user", "assistant"]
    content: str | list[_Text | _Image | _Video | _Audio | _Document]


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    thespis_chat: Literal[1]
    model: str
    settings: dict[str, str | int | float | bool | list[str]]
    messages: list[_Said]


def encode(model: str, settings: Settings, messages: list[dict[str, Any]]) -> bytes:
    whole = {
        "thespis_chat": FORM,
        "model": model,
        "settings": settings.values(),
        "messages": messages,
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"


def decode(data: bytes) -> tuple[Settings, list[dict[str, Any]]]:
    """Raises EngineError where it is no conversation of this program's."""
    try:
        found = msgspec.json.decode(data, type=_Saved)
        settings = settings_of(found.settings)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, SettingError):
        raise EngineError("That file is no saved conversation.") from None
    messages: list[dict[str, Any]] = msgspec.to_builtins(found.messages)
    if len(messages) > MOST_MESSAGES:
        raise EngineError(f"That conversation has more than {MOST_MESSAGES} messages.")
    for message in messages:
        for part in message["content"] if isinstance(message["content"], list) else []:
            # Another's file must not make the server fetch from anywhere, or read its own files.
            if not _is_inside(part):
                raise EngineError("That conversation names media that are not in it.")
    return settings, messages


def _is_inside(part: dict[str, Any]) -> bool:
    if part["type"] == "text":
        return True
    held = part[part["type"]]
    return str(held.get("url", held.get("file_data"))).startswith("data:")


def write(path: Path, data: bytes) -> None:
    """In the place of an older one, whole or not at all, and for its owner alone to read. Raises
    EngineError for what is not a saved conversation already, and where nothing can be written."""
    if len(data) > MOST_BYTES:
        raise EngineError(f"The conversation is larger than {MOST_BYTES >> 20} MiB.")
    if os.path.lexists(path):
        try:
            decode(read(path))
        except EngineError:
            text = f"{path} is there already, and no saved conversation: choose another name."
            raise EngineError(text) from None
    try:
        number, draft = tempfile.mkstemp(prefix=".chat-", dir=path.absolute().parent)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(data)
            os.replace(draft, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise
    except (OSError, ValueError) as error:
        raise EngineError(f"Cannot write {path}: {reason(error)}.") from None
