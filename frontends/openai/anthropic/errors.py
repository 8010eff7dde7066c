"""Failures in Anthropic's form. Pure."""

from typing import Any

import msgspec

from ....protocol.errors import STATUS, Failure

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
"""By status; the rest are invalid_request_error below 500 and api_error from there on."""
OVERLOADED = 529
"""Anthropic's own status, which its clients know, for 503."""
TOO_LONG = "prompt is too long: "
"""How agents recognise that a conversation must be shortened."""


def anthropic_form(failure: Failure, status: int, id: str) -> tuple[int, dict[str, Any]]:
    """The status and the body of a refusal."""
    usual = "invalid_request_error" if status < 500 else "api_error"
    before = TOO_LONG if failure.code == "context_length_exceeded" else ""
    error = {"type": TYPES.get(status, usual), "message": before + failure.sentence}
    body = {"type": "error", "error": error, "request_id": id}
    return OVERLOADED if status == 503 else status, body


def anthropic_event(failure: Failure, id: str) -> bytes:
    """In a stream that has begun."""
    _, body = anthropic_form(failure, STATUS[failure.kind], id)
    return b"event: error\ndata: " + msgspec.json.encode(body) + b"\n\n"
