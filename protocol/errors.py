"""What can go wrong, as a caller sees it.

    ThespisError
    +-- RequestError            one request ends; `kind` says how, `status` is its HTTP code
    +-- EngineError             the engine itself cannot start or go on

Between processes an error is a `Failure` (kind, text, part): never a pickled exception, never a
traceback. The text is written for the client by the actor that found the fault: what was wrong,
where, what to do. It never holds exception text, a path of this machine, an address or a repr.
"""

from typing import Literal

import msgspec

Kind = Literal[
    "invalid_request",
    "not_found",
    "conflict",
    "too_large",
    "unprocessable_media",
    "unprocessable",
    "media_unavailable",
    "overloaded",
    "unavailable",
    "restarted",
    "cancelled",
    "deadline",
    "unsupported",
    "internal",
]

STATUS: dict[Kind, int] = {
    "invalid_request": 400,
    "not_found": 404,
    "conflict": 409,
    "too_large": 413,
    "unprocessable_media": 422,
    "unprocessable": 422,
    "media_unavailable": 400,
    "overloaded": 429,
    "unavailable": 503,
    "restarted": 503,
    "cancelled": 499,
    "deadline": 504,
    "unsupported": 400,
    "internal": 500,
}


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Why one request ended without an answer."""

    kind: Kind
    text: str
    part: str | None = None
    """The item at fault, in the caller's words: `messages[1].content[0]`."""
    code: str | None = None
    """A stable word for programs, where `kind` is too coarse: `context_length_exceeded`."""

    @property
    def sentence(self) -> str:
        """The text, which names its part once: programs read `part`, people this."""
        named = self.part is None or self.text.startswith(f"{self.part} ")
        return self.text if named else f"{self.part}: {self.text}"


class ThespisError(Exception):
    """The root of everything that Thespis raises on purpose."""


class RequestError(ThespisError, ValueError):
    """One request was refused or ended early; the engine lives. `status`: the HTTP code."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.sentence)
        self.failure = failure

    @property
    def status(self) -> int:
        return STATUS[self.failure.kind]


class EngineError(ThespisError, RuntimeError):
    """The engine cannot start or has ended; the text says why and what to do."""


def refuse(kind: Kind, text: str, part: str | None = None, code: str | None = None) -> RequestError:
    """For `raise refuse("invalid_request", "...", part="messages[0]")`."""
    return RequestError(Failure(kind, text, part, code))


def invalid(text: str, part: str | None = None, code: str | None = None) -> RequestError:
    """The exception for what its caller has to write otherwise."""
    return refuse("invalid_request", text, part, code)


def too_large(text: str, part: str | None = None, code: str | None = None) -> RequestError:
    """The exception for what takes more than a request may."""
    return refuse("too_large", text, part, code)


def undecodable(text: str, part: str | None = None, code: str | None = None) -> RequestError:
    """The exception for an item whose bytes are wrong."""
    return refuse("unprocessable_media", text, part, code)
