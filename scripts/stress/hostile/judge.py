"""What may be answered to a hostile request: a refusal in the API's own form that tells nothing it
must not, or a good answer."""

import json
from typing import Any, Literal

import msgspec

from thespis.tests.helpers.bodies import IN_ERRORS, LEAKS

from .shot import SECONDS, Shot
from .wire import Answer, Exchange, answers_in

OVERLOAD = (429, 503, 529)
"""A refusal for want of room, which a busy server may give; counted apart."""


Dialect = Literal["openai", "anthropic", "ollama"]
EVENTS_OF_ERRORS = (b'data: {"error"', b'data: {"type":"error"', b'{"error":')
NO_HTTP = ("invalid_http", "request_timeout", "unsupported_expectation", "too_many_connections")
"""Codes of refusals that come before it is known what is asked."""


class Outcome(msgspec.Struct, kw_only=True):
    """One case and what became of it; times by the machine's monotonic clock."""

    number: int
    kind: str
    what: str
    size: int
    """Bytes on the wire."""
    began: float
    ended: float
    seconds: float
    allowed: float = SECONDS
    """How many it may take."""
    statuses: list[int] = []
    codes: list[str] = []
    """Of the errors that were told."""
    faults: list[str] = []
    """What is wrong with the answer, in words; nothing: it is as it should be."""


def abandoned(number: int, kind: str, began: float, ended: float) -> Outcome:
    """Of a case whose process did not come to an end with it."""
    what, fault = "not known", "the process that put it did not end it"
    return Outcome(
        number=number,
        kind=kind,
        what=what,
        size=0,
        began=began,
        ended=ended,
        seconds=ended - began,
        faults=[fault],
    )


def judge(number: int, kind: str, shot: Shot, exchange: Exchange) -> Outcome:
    outcome = Outcome(
        number=number,
        kind=kind,
        what=shot.what,
        size=shot.size,
        began=exchange.began,
        ended=exchange.ended,
        seconds=exchange.seconds if shot.leaves is None else 0.0,
        allowed=shot.seconds,
    )
    if exchange.refused:
        outcome.faults.append("nobody listens")
        return outcome
    try:
        answers = answers_in(bytes(exchange.received), shot.methods)
    except ValueError as error:
        outcome.faults.append(str(error))
        return outcome
    if not answers and not shot.may_close and shot.leaves is None:
        outcome.faults.append("no answer")
    if exchange.timed_out:
        outcome.faults.append("no end of the answer")
    elif outcome.seconds > outcome.allowed:
        outcome.faults.append(f"took {outcome.seconds:.1f} s")
    sent = _Sent(shot)
    for answer, method in zip(answers, shot.methods, strict=False):
        outcome.statuses.append(answer.status)
        _judge_one(answer, method, shot, sent, outcome)
    return outcome


def _judge_one(answer: Answer, method: str, shot: Shot, sent: "_Sent", outcome: Outcome) -> None:
    if not answer.whole and shot.leaves is None:
        outcome.faults.append(f"the answer of status {answer.status} is cut")
    dialect = dialect_of(shot)
    if answer.status >= 500 and answer.status not in OVERLOAD:
        outcome.faults.append(f"status {answer.status}")
    if answer.status in OVERLOAD and "Retry-After" not in answer.headers:
        outcome.faults.append(f"status {answer.status} without Retry-After")
    if answer.status >= 400 and answer.whole and method != "HEAD":
        error = error_of(answer.body, dialect)
        if error is None:
            outcome.faults.append(
                f"status {answer.status} without an error object: {answer.body[:80]!r}"
            )
        else:
            outcome.codes.append(str(error["code"]))
    lines = answer.body.split(b"\n") if answer.status == 200 else []
    events = [line for line in lines if line.startswith(EVENTS_OF_ERRORS)]
    for event in events:
        error = error_of(event.removeprefix(b"data: "), dialect)
        code = "none" if error is None else str(error["code"])
        outcome.codes.append(code)
        if code in ("internal_error", "api_error", "none"):
            outcome.faults.append(f"an event with the error {code}")
    secret = secret_of(answer, events, sent)
    if secret is not None:
        outcome.faults.append(f"tells {secret!r}")


def dialect_of(shot: Shot) -> Dialect:
    """By the path; what is no request is nobody's, and refused as OpenAI's."""
    path = shot.pieces[0].partition(b"\r\n")[0].split(b" ")[1:2]
    if path and path[0].startswith(b"/api/"):
        return "ollama"
    if (path and path[0].startswith(b"/v1/messages")) or b"anthropic-version:" in shot.pieces[0]:
        return "anthropic"
    return "openai"


def error_of(body: bytes, dialect: Dialect = "openai") -> dict[str, Any] | None:
    """The error object of that API, if the body is one; what is no HTTP gets OpenAI's anywhere."""
    try:
        told = json.loads(body)
        error = told["error"]
        if dialect == "ollama" and isinstance(error, str):
            internal = error == "Internal error."
            return {"code": "internal_error" if internal else dialect} if error else None
        if dialect == "anthropic" and told.get("type") == "error":
            fine = error.keys() == {"type", "message"} and error["message"]
            return {"code": error["type"]} if fine else None
        texts = [error[name] for name in ("message", "type", "code")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if dialect != "openai" and error["code"] not in NO_HTTP:
        return None
    return (
        error
        if all(isinstance(text, str) and text for text in texts) and "param" in error
        else None
    )


def secret_of(answer: Answer, events: list[bytes], sent: "_Sent") -> str | None:
    """The first thing in the answer that a caller must not be told and has not said himself."""
    text = answer.body.decode("utf-8", "replace")
    errors = (
        [text] if answer.status >= 400 else [event.decode("utf-8", "replace") for event in events]
    )
    for pattern, texts in ((IN_ERRORS, errors), (LEAKS, [text])):
        for one in texts:
            for hit in pattern.finditer(one):
                if not sent.said(hit[0]):
                    return one[max(0, hit.start() - 60) : hit.end() + 60]
    return None


class _Sent:
    """What the caller has written: an answer may repeat it."""

    def __init__(self, shot: Shot) -> None:
        self._pieces = shot.pieces

    def said(self, text: str) -> bool:
        forms = {text.encode(), json.dumps(text)[1:-1].encode()}
        return any(form in piece for piece in self._pieces for form in forms)
