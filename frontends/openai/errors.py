"""Errors as callers see them. No exception's text and no path gets out."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

from ...protocol.errors import STATUS, EngineError, Failure, RequestError
from ...protocol.memory.shortage import NO_FILES, shortage

log = logging.getLogger(__name__)

SERVER = "thespis"
"""The Server header, instead of aiohttp's list of components and their versions."""
RETRY_AFTER_SECONDS = {429: 1, 503: 2}
OTHER_REASONS = {529: "Overloaded"}
"""Words for statuses that HTTP has none for."""
INTERNAL = Failure("internal", "Internal error.", code="internal_error")
ENGINE_GONE = Failure(
    "restarted",
    "The engine is not there at the moment; send the request again.",
    code="engine_dead",
)
ERROR_TYPES = {
    "not_found": "not_found_error",
    "conflict": "conflict_error",
    "overloaded": "rate_limit_error",
    "unavailable": "service_unavailable_error",
    "restarted": "service_unavailable_error",
    "deadline": "timeout_error",
    "internal": "server_error",
}
"""OpenAI's `type` by kind of failure; the rest is invalid_request_error."""
TYPES_BY_CODE = {
    "invalid_api_key": "authentication_error",
    "origin_not_allowed": "permission_error",
    "unknown_host": "permission_error",
}
"""Where the code says more than the kind."""


class Refusal(NamedTuple):
    """A failure with a status of its own, for what HTTP tells apart and the engine does not."""

    failure: Failure
    status: int
    headers: Mapping[str, str] = {}


def refusal(status: int, code: str, text: str, **headers: str) -> Refusal:
    """What a caller has to do otherwise. `headers`: with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Refusal(Failure("invalid_request", text, code=code), status, named)


NO_HTTP = refusal(400, "invalid_http", "This is not a readable HTTP request.")
NO_EXPECTATION = refusal(
    417, "unsupported_expectation", "Of expectations only `100-continue` is known."
)
NO_KEY = refusal(
    401,
    "invalid_api_key",
    "The API key is missing or wrong; send it as `Authorization: Bearer KEY`.",
    WWW_Authenticate="Bearer",
)
CROWDED = Refusal(NO_FILES, STATUS[NO_FILES.kind])
"""To a caller whose connection took almost the last file that this process may open."""
TOO_MANY_CONNECTIONS = Refusal(
    Failure(
        "overloaded",
        "There are too many connections from your address; close some, or send requests over "
        "those there are.",
        code="too_many_connections",
    ),
    429,
)
LATE_HEAD = refusal(408, "request_timeout", "The head of the request did not come whole in time.")


def error_body(failure: Failure) -> dict[str, Any]:
    """OpenAI's error object."""
    return {
        "error": {
            "message": failure.sentence,
            "type": TYPES_BY_CODE.get(failure.code or "")
            or ERROR_TYPES.get(failure.kind, "invalid_request_error"),
            "param": failure.part,
            "code": failure.code or failure.kind,
        }
    }


ErrorForm = Callable[[Failure, int, str], tuple[int, dict[str, Any]]]
"""How an API tells a failure, by its status and the request's id: its own status, and the body."""


def openai_form(failure: Failure, status: int, id: str) -> tuple[int, dict[str, Any]]:
    return status, error_body(failure)


def error_event(failure: Failure) -> bytes:
    return b"event: error\ndata: " + msgspec.json.encode(error_body(failure)) + b"\n\n"


def failure_of(error: Exception) -> Refusal:
    """What the caller is told. What was not foreseen is logged here, and told without details."""
    match error:
        case RequestError(failure=failure):
            return Refusal(failure, STATUS[failure.kind])
        case EngineError():
            log.warning("the engine did not answer: %s", error)
            return Refusal(ENGINE_GONE, 503)
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            text = f"This path does not take that method; it takes {allowed}."
            return refusal(405, "method_not_allowed", text, Allow=allowed)
        case web.HTTPException():
            return refusal(error.status, "invalid_request", "The request is not valid.")
    if (short := shortage(error)) is not None:
        return Refusal(short, STATUS[short.kind])
    log.error("a request failed", exc_info=error)
    return Refusal(INTERNAL, 500)


def error_response(
    failure: Failure,
    status: int,
    more: Mapping[str, str] = {},
    form: ErrorForm = openai_form,
    id: str = "",
) -> web.Response:
    """`id`: of the request, where the form tells it."""
    headers = dict(more)
    if status in RETRY_AFTER_SECONDS:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS[status])
    status, told = form(failure, status, id)
    return web.Response(
        body=msgspec.json.encode(told),
        status=status,
        reason=OTHER_REASONS.get(status),
        content_type="application/json",
        headers=headers,
    )


def raw_answer(refusal: Refusal) -> bytes:
    """A whole answer to somebody who has not asked, before the connection is closed."""
    response = error_response(*refusal)
    assert isinstance(response.body, bytes)
    response.headers.update(
        {"Server": SERVER, "Connection": "close", "Content-Length": str(len(response.body))}
    )
    lines = (f"{name}: {value}\r\n" for name, value in response.headers.items())
    return (
        f"HTTP/1.1 {response.status} {response.reason}\r\n{''.join(lines)}\r\n".encode()
        + response.body
    )


def no_request(status: int) -> web.Response:
    """To bytes that are not an HTTP request, and when something went wrong outside all handlers."""
    response = error_response(*(Refusal(INTERNAL, 500) if status >= 500 else NO_HTTP))
    response.headers["Server"] = SERVER
    response.force_close()
    return response
