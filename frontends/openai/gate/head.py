"""What is wrong with a request, judged by its head: before a byte of its body is read. Pure."""

from aiohttp import HttpVersion, HttpVersion11, hdrs
from multidict import MultiMapping

from ..errors import Refusal, refusal

BODY_TYPES = ("application/json",)
"""What a body may be. No type that a form in a web page can send is among them."""
FORM_TYPES = ("multipart/form-data",)
"""What it is where files come. Pages can send it; their browsers then tell their origin."""

BAD_FRAMING = refusal(
    400, "invalid_http", "An HTTP/1.0 request has no Transfer-Encoding; send a Content-Length."
)
UNKNOWN_TRANSFER = refusal(
    501,
    "unsupported_transfer_coding",
    "Of transfer codings only `chunked` is known, once and alone.",
)
COMPRESSED = refusal(
    415,
    "unsupported_encoding",
    "Compressed bodies are not accepted; send this one without Content-Encoding.",
    Accept_Encoding="identity",
)
NO_JSON = refusal(
    415,
    "unsupported_media_type",
    "The body must be JSON; send Content-Type: application/json.",
    Accept_Post=", ".join(BODY_TYPES),
)
NO_FORM = refusal(
    415,
    "unsupported_media_type",
    "A file comes in a form; send Content-Type: multipart/form-data with its boundary.",
    Accept_Post=", ".join(FORM_TYPES),
)
EMPTY_OBJECT = len("{}")
UNEXPECTED_BODY = refusal(
    400,
    "unexpected_body",
    "This path takes no body; leave it out, or send `{}` with its Content-Length.",
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


def body_fault(headers: MultiMapping[str], form: bool = False) -> Refusal | None:
    """Whether it is JSON, as it is, or a `form`. Parameters of the type are read over: `charset`
    has no meaning (RFC 8259, 11). `+json` is another type, and `text/plain;application/json` is
    text."""
    codings = {
        _word(coding)
        for value in headers.getall(hdrs.CONTENT_ENCODING, ())
        for coding in value.split(",")
    }
    if not codings <= {"identity", ""}:
        return COMPRESSED
    types = [_word(value.partition(";")[0]) for value in headers.getall(hdrs.CONTENT_TYPE, ())]
    if form:
        return None if len(types) == 1 and types[0] in FORM_TYPES else NO_FORM
    return None if len(types) == 1 and types[0] in BODY_TYPES else NO_JSON


def says_something(headers: MultiMapping[str]) -> bool:
    """Whether there is a body that is more than an empty object, or of a length not told."""
    size = int(headers.get(hdrs.CONTENT_LENGTH, "0"))
    return size > EMPTY_OBJECT or hdrs.TRANSFER_ENCODING in headers


def _word(text: str) -> str:
    """Lower case, for comparison; lowering would make ASCII of some of what is not."""
    bare = text.strip(" \t")
    return bare.lower() if bare.isascii() else bare
