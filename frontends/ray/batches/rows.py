"""From a row of a dataset to a line of a batch's file. Pure."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import msgspec
import numpy as np

from ....protocol.errors import RequestError, invalid
from ...openai.batches.lines import MAX_ID, Line

CHAT = "/v1/chat/completions"
MEDIA = ("image", "video", "audio")
BodyOf = Callable[[dict[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class RowForm:
    """How rows become requests."""

    id_column: str = "custom_id"
    body_of: BodyOf | None = None
    """The caller's own: from a row to the body of a request."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Fields of every body, where the row's own says nothing else."""
    url: str = CHAT
    """Of rows that have no column of that name."""


def id_of(value: Any) -> str:
    """Raises RequestError."""
    if isinstance(value, np.integer):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise invalid("A row's id is a text or a whole number.", code="invalid_custom_id")
    id = str(value)
    if not 1 <= len(id) <= MAX_ID:
        raise invalid(f"A row's id has 1 to {MAX_ID} characters.", code="invalid_custom_id")
    if any("\ud800" <= character <= "\udfff" for character in id):
        text = "A row's id has half a character, which no text can hold."
        raise invalid(text, code="invalid_custom_id")
    return id


def line_of(row: dict[str, Any], form: RowForm) -> Line:
    """Raises RequestError that names the column."""
    id = id_of(row.get(form.id_column))
    try:
        encoded = msgspec.json.encode(_plain({**form.params, **_body(row, form)}))
    except RequestError:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise invalid("The body of its request cannot be written as JSON.", "body") from None
    url = row.get("url") if form.body_of is None else None
    if url is not None and not isinstance(url, str):
        raise invalid("Expected a path, such as /v1/chat/completions.", "url", "invalid_url")
    return Line(custom_id=id, body=msgspec.Raw(encoded), url=url or form.url)


def _body(row: dict[str, Any], form: RowForm) -> Mapping[str, Any]:
    if form.body_of is not None:
        return _given(form.body_of, row)
    if row.get("body") is not None:
        return _object(row["body"])
    if row.get("messages") is not None:
        return {"messages": _messages(row["messages"])}
    if not isinstance(prompt := row.get("prompt"), str):
        text = "A row has one of the columns `prompt` (a text), `messages` or `body`."
        raise invalid(text, "prompt", "no_prompt")
    parts = [part for modality in MEDIA for part in _media(row, modality)]
    content = [*parts, {"type": "text", "text": prompt}] if parts else prompt
    return {"messages": [{"role": "user", "content": content}]}


def _given(body_of: BodyOf, row: dict[str, Any]) -> Mapping[str, Any]:
    """What it raises is the caller's own, and of one row."""
    try:
        body = body_of(row)
    except RequestError:
        raise
    except Exception as error:
        text = f"`request` raised {type(error).__name__} for this row."
        raise invalid(text, "request", "invalid_row") from None
    if not isinstance(body, Mapping):
        raise invalid("`request` gives a dict: the body of a request.", "request", "invalid_row")
    return body


def _object(given: Any) -> Mapping[str, Any]:
    if isinstance(given, str | bytes):
        try:
            given = msgspec.json.decode(given)
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise invalid("It is not valid JSON.", "body", "invalid_body") from None
    if not isinstance(given, Mapping):
        raise invalid("The body is an object.", "body", "invalid_body")
    return {name: _without_nulls(value) for name, value in given.items() if value is not None}


def _messages(given: Any) -> Any:
    if isinstance(given, str | bytes):
        try:
            return msgspec.json.decode(given)
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise invalid("It is not valid JSON.", "messages", "invalid_body") from None
    return _without_nulls(given)


def _without_nulls(value: Any) -> Any:
    """A table's structs have the fields of all of their column: null where a row had none."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return list(map(_without_nulls, value)) if isinstance(value, list | tuple) else value


def _media(row: dict[str, Any], modality: str) -> list[dict[str, Any]]:
    parts = []
    for column in (modality, f"{modality}s"):
        value = row.get(column)
        if isinstance(value, np.ndarray) and value.dtype == object:  # a list, as Ray may have it
            value = value.tolist()
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is not None:
                kind = f"{modality}_url"
                parts.append({"type": kind, kind: {"url": _url(one, modality, column)}})
    return parts


def _url(value: Any, modality: str, column: str) -> str:
    if isinstance(value, Mapping):  # as `datasets` keeps files
        value = value.get("bytes")
    if isinstance(value, str):
        return value
    if modality == "image" and isinstance(value, np.ndarray):
        value = _png(value, column)
    if not isinstance(value, bytes | bytearray | memoryview):
        text = "Expected the bytes of a file, a URL, or a list of them."
        raise invalid(text, column, "invalid_media")
    return f"data:{modality}/*;base64,{base64.b64encode(value).decode()}"


def _png(pixels: "np.ndarray[Any, Any]", column: str) -> bytes:
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype != np.uint8 or not (
        pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    ):
        text = "Pixels are uint8, as rows of columns, with 1, 3 or 4 channels."
        raise invalid(text, column, "invalid_media")
    if not pixels.size:
        raise invalid("The picture has no pixels.", column, "invalid_media")
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _plain(value: Any) -> Any:
    """Of what JSON has not: bytes are a file's, and become a data URL's."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"data:;base64,{base64.b64encode(value).decode()}"
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return list(map(_plain, value)) if isinstance(value, list | tuple) else value
