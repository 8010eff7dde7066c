"""Lines of what comes out as columns of a table. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

NAMES = ("custom_id", "status_code", "request_id", "text", "response", "error")


class _Response(msgspec.Struct):
    status_code: int
    request_id: str
    body: msgspec.Raw


class _Written(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: Any = None


def columns_of(lines: Iterable[bytes]) -> dict[str, list[Any]]:
    """`text`: what was answered; `response`: the whole body, as JSON; `error`: what went wrong.
    None where a row has none."""
    columns: dict[str, list[Any]] = {name: [] for name in NAMES}
    for line in lines:
        for name, value in zip(NAMES, _row(line), strict=True):
            columns[name].append(value)
    return columns


def _row(line: bytes) -> tuple[Any, ...]:
    written = msgspec.json.decode(line, type=_Written)
    response = written.response
    if response is None:
        return written.custom_id, None, None, None, None, _message(written.error)
    body = msgspec.json.decode(response.body)
    error = _message(body.get("error")) if response.status_code != 200 else None
    text = _text(body) if response.status_code == 200 else None
    whole = bytes(response.body).decode()
    return written.custom_id, response.status_code, response.request_id, text, whole, error


def _message(error: Any) -> str | None:
    return error.get("message") if isinstance(error, dict) else None


def _text(body: dict[str, Any]) -> str | None:
    """Of the first choice, or of a response's messages."""
    for choice in body.get("choices") or ():
        message = choice.get("message")
        return message.get("content") if isinstance(message, dict) else choice.get("text")
    texts = [
        part.get("text", "")
        for item in body.get("output") or ()
        for part in item.get("content") or ()
        if part.get("type") == "output_text"
    ]
    return "".join(texts) if texts else None
