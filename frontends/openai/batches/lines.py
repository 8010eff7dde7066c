"""Lines of a batch's file, and the lines of what comes out, as OpenAI has them. Pure."""

import secrets
from typing import Any

import msgspec

from ....protocol.errors import invalid
from ..requests.batches import LAST

MAX_LINES = 50_000
MAX_LINE = 16 << 20
"""Bytes: a parser holds its interpreter from a line's first byte to its last. What is larger is
uploaded as a file and referred to."""
MAX_ID = 512
PRIORITY = b',"priority":%d}' % LAST
RANKED = (
    *("/v1/chat/completions", "/v1/completions", "/v1/embeddings"),
    *("/v1/rerank", "/v1/score"),
)
"""Paths whose bodies have a priority."""
EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be done before the batch's completion window ended.",
}


class _Stream(msgspec.Struct):
    stream: Any = None


class Line(msgspec.Struct):
    custom_id: str
    body: msgspec.Raw
    method: str = "POST"
    url: str = ""


def read_line(data: bytes, endpoint: str | None) -> Line:
    """`endpoint`: which every line must name; None: any. Raises RequestError that names the
    field."""
    try:
        line = msgspec.json.decode(data, type=Line)
    except msgspec.ValidationError:
        text = (
            "A line is an object with `custom_id`, `method`, `url` and `body`, the first three of "
            "them texts."
        )
        raise invalid(text, code="invalid_line") from None
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise invalid("The line is not valid JSON.", code="invalid_json_line") from None
    if not 1 <= len(line.custom_id) <= MAX_ID:
        raise invalid(f"It has 1 to {MAX_ID} characters.", "custom_id", "invalid_custom_id")
    if line.method != "POST":
        raise invalid("The only method is POST.", "method", "invalid_method")
    if endpoint is not None and line.url != endpoint:
        raise invalid(f"The batch is for {endpoint}.", "url", "mismatched_url")
    if not bytes(line.body).lstrip().startswith(b"{"):
        raise invalid("The body is an object.", "body", "invalid_body")
    return line


def body_of(line: Line) -> bytes:
    """As it is submitted: behind everybody who waits for an answer. Of a name that comes twice the
    later counts."""
    body = bytes(line.body).strip()
    if line.url not in RANKED or body[1:-1].isspace() or len(body) == 2:
        return body
    return body[:-1] + PRIORITY


def is_streamed(body: bytes) -> bool:
    """Whether it asks for a stream, which no file can be. Names may be written with escapes."""
    try:
        return msgspec.json.decode(body, type=_Stream).stream is True
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False  # whoever reads it will say so


NO_STREAM = {"code": "no_stream", "message": "An answer in a batch is not streamed."}


def row(custom_id: str, status: int, body: bytes, request_id: str) -> bytes:
    """One line of what comes out."""
    response = {"status_code": status, "request_id": request_id, "body": msgspec.Raw(body)}
    return _written(custom_id, response, None)


def undone(custom_id: str, error: dict[str, str]) -> bytes:
    return _written(custom_id, None, error)


ROW_START = b'{"id":"batch_req_'


def _written(custom_id: str, response: Any, error: Any) -> bytes:
    id = f"batch_req_{secrets.token_hex(12)}"
    whole = {"id": id, "custom_id": custom_id, "response": response, "error": error}
    return msgspec.json.encode(whole) + b"\n"
