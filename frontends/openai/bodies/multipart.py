"""Forms with files, multipart/form-data (RFC 7578), read piece by piece: only heads of parts are
ever held. No decoding of contents, no nesting, and bounds on all that a caller can make long.
Pure."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from ....protocol.errors import RequestError, invalid

MAX_HEAD = 8 << 10
"""Bytes of the head of one part."""
MAX_PARTS = 64
MAX_PADDING = 256
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_PARAMETER = re.compile(r';[ \t]*([A-Za-z*]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]*))[ \t]*')
_PLAIN = ("7bit", "8bit", "binary")


class FormPart(NamedTuple):
    """Begins; its bytes follow."""

    name: str
    filename: str | None
    """As the caller has it: a claim, and never a path. None: it is a field."""


def boundary_of(content_type: str) -> str:
    """Raises RequestError 400 where there is none."""
    _, _, rest = content_type.partition(";")
    found = [value for name, value in _parameters(f";{rest}") if name == "boundary"]
    if len(found) != 1 or not _BOUNDARY.fullmatch(found[0]):
        text = "The Content-Type of a form has one boundary of 1 to 70 letters and digits."
        raise invalid(text, code="invalid_form")
    return found[0]


class Form:
    """Fed with a body in pieces; each part comes as `FormPart`, then as pieces of its content.
    Raises RequestError for what is no form."""

    def __init__(self, boundary: str) -> None:
        self._delimiter = b"\r\n--" + boundary.encode()
        self._rest = bytearray(b"\r\n")  # the first delimiter has no line before it
        self._state = "before"
        self._parts = 0

    def feed(self, data: bytes) -> Iterator[FormPart | bytes]:
        self._rest += data
        while (more := self._step()) is not None:
            yield from more

    def end(self) -> None:
        """The body ends here."""
        if self._state != "after":
            raise _wrong("it ends before its last boundary")

    def _step(self) -> list[FormPart | bytes] | None:
        """What is known now; None: more is needed."""
        match self._state:
            case "head":
                return self._read_head()
            case "line":
                return self._read_line()
            case "after":
                self._rest.clear()
                return None
        at = self._rest.find(self._delimiter)
        if at < 0:
            size = len(self._rest) - len(self._delimiter) + 1
            if self._state == "before":
                if size > 0:
                    raise _wrong("it does not begin with its boundary")
                return None
            return [self._cut(size)] if size > 0 else None
        if self._state == "before" and at > 0:
            raise _wrong("it does not begin with its boundary")
        content = self._cut(at)
        self._cut(len(self._delimiter))
        self._state = "line"
        return [content] if content else []

    def _read_line(self) -> list[FormPart | bytes] | None:
        """What stands behind a boundary: the next part or the end."""
        padding = len(self._rest) - len(self._rest.lstrip(b" \t"))
        if padding > MAX_PADDING:
            raise _wrong("a boundary is followed by too much white space")
        if len(self._rest) < padding + 2:
            return None
        self._cut(padding)
        mark = self._cut(2)
        if mark == b"--":
            self._state = "after"
        elif mark == b"\r\n":
            self._state = "head"
        else:
            raise _wrong("what follows a boundary is neither a part nor the end")
        return []

    def _read_head(self) -> list[FormPart | bytes] | None:
        if (at := self._rest.find(b"\r\n\r\n")) < 0 or at > MAX_HEAD:
            if len(self._rest) > MAX_HEAD:
                raise _wrong(f"the head of a part has more than {MAX_HEAD >> 10} KiB")
            return None
        head = self._cut(at)
        self._cut(4)
        self._state = "data"
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _wrong(f"it has more than {MAX_PARTS} parts")
        return [_part_of(head)]

    def _cut(self, size: int) -> bytes:
        piece = bytes(self._rest[:size])
        del self._rest[:size]
        return piece


def _part_of(head: bytes) -> FormPart:
    try:
        lines = head.decode("utf-8").split("\r\n")
    except UnicodeDecodeError:
        raise _wrong("the head of a part is not UTF-8") from None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip() or name.lower() in headers:
            raise _wrong("the head of a part has a line that is none of a header, or twice")
        headers[name.lower()] = value.strip()
    if headers.get("content-transfer-encoding", "binary").lower() not in _PLAIN:
        raise _wrong("contents come as they are, without a Content-Transfer-Encoding")
    if "content-encoding" in headers:
        raise _wrong("contents come as they are, without a Content-Encoding")
    kind, _, rest = headers.get("content-disposition", "").partition(";")
    if kind.strip().lower() != "form-data":
        raise _wrong("a part has no Content-Disposition: form-data")
    told = list(_parameters(f";{rest}"))
    known = dict(told)
    if "name" not in known or len(known) != len(told):
        raise _wrong("a part needs one name")
    return FormPart(known["name"], known.get("filename"))


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while found := _PARAMETER.match(text, at):
        name, quoted, plain = found.groups()
        value = plain if quoted is None else re.sub(r'\\(["\\])', r"\1", quoted)
        yield name.lower(), value
        at = found.end()
    if text[at:].strip(" \t;"):
        raise _wrong("a parameter of a header has no end, or no name")


def _wrong(what: str) -> RequestError:
    return invalid(f"The body is no form as it should be: {what}.", code="invalid_form")
