"""The access log: a line for each request, when it is over."""

import logging
from collections import Counter

import msgspec
from aiohttp import web

log = logging.getLogger(__name__)

LONGEST_PATH = 200
LEFT = 499
"""Instead of a status: the caller has left before its end."""
ABORTED = "abort"
"""The end of an answer whose caller has left."""


class Told(msgspec.Struct):
    """What is known of a request, filled in while it is answered."""

    id: str | None = None
    """The caller's name for it, or else ours."""
    prompt_tokens: int = 0
    output_tokens: int = 0
    first_token: float | None = None
    """Seconds from the arrival."""
    reasons: list[str] = []
    """Why its choices have ended."""
    running: bool = False
    """It was let into the engine."""
    error: str | None = None
    """The code that its caller was told."""
    left: bool = False
    """Its caller went away while the answer was written."""


TOLD: web.RequestKey[Told] = web.RequestKey("told", Told)


def write(request: web.Request, told: Told, status: int, seconds: float, probe: bool) -> None:
    """`probe`: it asks how the server is, again and again; where all is well that is no news."""
    level = logging.DEBUG if probe and status < 400 else logging.INFO
    if not log.isEnabledFor(level):
        return
    fields: dict[str, object] = {
        "method": request.method,
        "path": request.rel_url.raw_path[:LONGEST_PATH] or "-",  # without what is behind the `?`
        "status": status,
        "id": told.id,
        "prompt_tokens": told.prompt_tokens or None,
        "output_tokens": told.output_tokens or None,
        "ttft": None if told.first_token is None else round(told.first_token, 4),
        "duration": round(seconds, 4),
        "finish": ",".join(reason for reason, _ in Counter(told.reasons).most_common()) or None,
        "error": told.error,
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    rest = " ".join(f"{name}={value}" for name, value in list(fields.items())[3:])
    text = "%s %s %d %s"
    log.log(level, text, fields["method"], fields["path"], status, rest, extra={"fields": fields})
