"""Documents as callers send them: files with pages, and files of text. What they hold is found out
in a worker; here their options are read and their bytes passed on. Pure."""

from collections.abc import Mapping
from typing import Any, get_args

from ...protocol.errors import invalid
from ...protocol.requests.document import DocumentOptions, PageRange, TextLayer, read_ranges
from ...protocol.requests.request import Modality, Url
from ..validation import expect_text
from .media import LONGEST_HEADER, Pending, Raw, filed, read_encoded, read_url
from .unread import Unread

FILE_TYPES = ("file", "input_file", "document", "document_url")
"""Types of parts that are documents, or files of any kind."""
OPTIONS = ("pages", "dpi", "pixels", "text")
"""What may be said of a document beside its data."""
SOURCES = ("file_data", "file_url", "file_id")
"""Of which one says where a file is."""
MOST_ID = 128
"""Characters."""
MOST_DPI, MOST_PIXELS = 1200, 1 << 30
_LAYERS = get_args(TextLayer)
_MEDIA: tuple[Modality, ...] = ("image", "video", "audio")


def read_file(
    kind: str, part: Mapping[str, Any], where: str, from_python: bool, unread: Unread
) -> Pending:
    """A part of one of FILE_TYPES. Raises RequestError."""
    at, inside = where, part
    file = part.get("file")
    if kind == "file":
        at = f"{where}.file"
        if not isinstance(file, Mapping):
            text = "Expected an object with `file_data`, `file_url` or `file_id`."
            raise invalid(text, at, "wrong_type")
        inside = file
        unread.check(part, ("type", "file", *OPTIONS), where)
        unread.check(inside, (*SOURCES, "filename", *OPTIONS), at)
    elif kind == "document_url":
        unread.check(part, ("type", kind, "document_name", *OPTIONS), where)
    elif kind == "document":
        unread.check(part, ("type", kind, *OPTIONS), where)
    else:
        unread.check(part, ("type", *SOURCES, "filename", "detail", *OPTIONS), where)
    options = {**{name: part.get(name) for name in OPTIONS}, **_said(inside)}
    if kind == "document":
        return document_of(_raw(part, where, from_python), where, options)
    if kind == "document_url":
        return document_of(_url(part, where), where, options)
    return _given(inside, at, where, options, from_python)


def document_of(
    content: bytes | Url, where: str, options: Mapping[str, Any] | None = None
) -> Pending:
    """A document for every face: its bytes (a PDF, or text as UTF-8), or where they are. `options`:
    any of OPTIONS. Raises RequestError."""
    wanted = read_options(options or {}, where)
    return Pending("document", content, where, document=wanted)


def read_options(given: Mapping[str, Any], where: str) -> DocumentOptions:
    """Raises RequestError."""
    dpi = _number(given, "dpi", MOST_DPI, where, (int, float))
    pixels = _number(given, "pixels", MOST_PIXELS, where, (int,))
    if dpi is not None and pixels is not None:
        text = "It excludes `pixels`: both say how large a page is drawn."
        raise invalid(text, f"{where}.dpi", "contradicting_fields")
    return DocumentOptions(
        pages=_pages(given.get("pages"), f"{where}.pages"),
        dpi=None if dpi is None else float(dpi),
        pixels=None if pixels is None else int(pixels),
        text=_layer(given.get("text"), f"{where}.text"),
    )


def _pages(given: Any, where: str) -> tuple[PageRange, ...]:
    if given is None:
        return ()
    if type(given) is int:
        given = str(given)
    if not isinstance(given, str):
        text = "`pages` is a number, or a text such as '1-3,7'."
        raise invalid(text, where, "wrong_type")
    return read_ranges(given, where)


def _layer(given: Any, where: str) -> TextLayer:
    if given is None or given is False:
        return "none"
    if given is True:
        return "beside"
    if given not in _LAYERS:
        text = "`text` is true (each page's text goes with its picture), false, or 'only'."
        raise invalid(text, where, "wrong_type")
    layer: TextLayer = given
    return layer


def _number(
    given: Mapping[str, Any], name: str, most: int, where: str, kinds: tuple[type, ...]
) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    number = value if type(value) in kinds else 0
    if not 1 <= number <= most:
        what = "a number" if float in kinds else "a whole number"
        text = f"`{name}` is {what} from 1 to {most}."
        raise invalid(text, f"{where}.{name}", "out_of_range")
    return float(number)


def _said(inside: Mapping[str, Any]) -> dict[str, Any]:
    return {name: inside[name] for name in OPTIONS if inside.get(name) is not None}


def _raw(part: Mapping[str, Any], where: str, from_python: bool) -> bytes:
    value = part.get("document")
    if from_python and isinstance(value, bytes | bytearray | memoryview):
        if not value:
            raise invalid("The document is empty.", where, "empty_media")
        return bytes(value)
    how = "the bytes of a file" if from_python else "sent as a part of type `file`"
    raise invalid(f"A document is {how}.", f"{where}.document", "wrong_type")


def _url(part: Mapping[str, Any], where: str) -> bytes | Url:
    value = part.get("document_url")
    at = f"{where}.document_url"
    if isinstance(value, Mapping):
        value, at = value.get("url"), f"{at}.url"
    return read_document_url(expect_text(value, at), where)


def read_document_url(url: str, where: str) -> bytes | Url:
    """A document by URL: its bytes, where they stand in it. Raises RequestError."""
    content = read_url(url, "document", where)
    assert not isinstance(content, Raw), "only clips come as lists of frames"
    return content


def _given(
    inside: Mapping[str, Any],
    at: str,
    where: str,
    options: Mapping[str, Any],
    from_python: bool,
) -> Pending:
    """By `file_data`, which many clients fill with a URL, by `file_url`, or as it was uploaded."""
    data, url, id = (inside.get(name) for name in SOURCES)
    if [data, url, id].count(None) != 2:
        text = "Give the file as one of `file_data` (a data: URL or base64), `file_url`, `file_id`."
        raise invalid(text, at, "missing_field")
    if id is not None:
        return document_of(_uploaded(id, f"{at}.file_id", from_python), where, options)
    if url is not None:
        found = read_document_url(expect_text(url, f"{at}.file_url"), where)
        return document_of(found, where, options)
    text = expect_text(data, f"{at}.file_data")
    head = text[:LONGEST_HEADER].lstrip().lower()
    if head.startswith(("http://", "https://", "file:")):
        return document_of(Url(text.strip()), where, options)
    for modality in _MEDIA:
        if head.startswith(f"data:{modality}/"):
            return Pending(modality, read_url(text, modality, where), where)
    return document_of(read_encoded(text, "document", where), where, options)


def _uploaded(id: Any, where: str, from_python: bool) -> Url:
    if from_python:
        text = "Files are uploaded to a server; here the data itself is given."
        raise invalid(text, where, "unknown_part")
    if len(expect_text(id, where)) > MOST_ID:
        raise invalid("This is no id of a file.", where, "invalid_file_id")
    return filed(id)
