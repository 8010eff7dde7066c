"""What is wrong with a request, judged by its head: before a byte of its body is read. Pure."""

from aiohttp import HttpVersion, HttpVersion11, hdrs
from multidict import MultiMapping

from ....protocol.errors import Failure
from ..errors import Refusal

BODY_TYPES = ("application/json",)
"""What a body may be. No type that a form in a web page can send is among them."""

BAD_FRAMING = Refusal(
    Failure(
        "invalid_request",
        "An HTTP/1.0 request has no Transfer-Encoding; send a Content-Length.",
        code="invalid_http",
    ),
    400,
)
UNKNOWN_TRANSFER = Refusal(
    Failure(
        "unsupported",
        "Of transfer codings only `chunked` is known, once and alone.",
        code="unsupported_transfer_coding",
    ),
    501,
)
COMPRESSED = Refusal(
    Failure(
        "unsupported",
        "Compressed bodies are not accepted; send this one without Content-Encoding.",
        code="unsupported_encoding",
    ),
    415,
    {hdrs.ACCEPT_ENCODING: "identity"},
)
NO_JSON = Refusal(
    Failure(
        "unsupported",
        "The body must be JSON; send Content-Type: application/json.",
        code="unsupported_media_type",
    ),
    415,
    {"Accept-Post": ", ".join(BODY_TYPES)},
)


def framing_fault(version: HttpVersion, headers: MultiMapping[str]) -> Refusal | None:
    """Where a body ends must be beyond doubt (RFC 9112, 6.1): the parser accepts codings before
    `chunked`, which nobody here undoes, and reads chunks from callers whose version has none."""
    given = headers.getall(hdrs.TRANSFER_ENCODING, ())
    if not given:
        return None
    if version < HttpVersion11:
        return BAD_FRAMING
    return None if [_word(value) for value in given] == ["chunked"] else UNKNOWN_TRANSFER


def body_fault(headers: MultiMapping[str]) -> Refusal | None:
    """Whether this is a body that a path here takes: JSON, as it is.

    Parameters of the type are read over: `charset` has no meaning for JSON (RFC 8259, 11). A type
    that only ends in `+json` is another type, and `text/plain;application/json` is text.
    """
    codings = {
        _word(coding)
        for value in headers.getall(hdrs.CONTENT_ENCODING, ())
        for coding in value.split(",")
    }
    if not codings <= {"identity", ""}:
        return COMPRESSED
    types = [_word(value.partition(";")[0]) for value in headers.getall(hdrs.CONTENT_TYPE, ())]
    return None if len(types) == 1 and types[0] in BODY_TYPES else NO_JSON


def _word(text: str) -> str:
    """Lower case, for comparison; what is not ASCII stays, as lowering would make some of it
    ASCII."""
    bare = text.strip(" \t")
    return bare.lower() if bare.isascii() else bare
