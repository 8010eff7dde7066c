"""The forgiving base64 decode of WHATWG's Infra standard: white space anywhere, padding or none. In
slices that hold the interpreter for less than a millisecond each; what is wrong is said with its
place. A body of a `data:` URL is percent-encoded besides. Nearly all texts are plain digits, which
msgspec's decoder, asked first, takes four times as fast. Pure."""

import binascii
import re
import string
from collections.abc import Iterator
from io import BytesIO
from urllib.parse import unquote_to_bytes

import msgspec

SLICE = 1 << 16
"""Characters decoded at once."""
ESCAPED_SLICE = 1 << 13
"""Of text that may be percent-encoded, which takes longer to undo."""
ALPHABET = (string.ascii_letters + string.digits + "+/").encode()
WHITE_SPACE = b"\t\n\f\r "
_STRANGE = re.compile(rb"[^A-Za-z0-9+/\t\n\f\r ]")
_UNDONE = re.compile(rb"%[0-9A-Fa-f]?\Z")
"""The beginning of an escape whose rest is in the next slice."""
_PADDING = {2: 2, 3: 1}
"""Characters beyond the last whole group of four, and the `=` that fill it up."""


class Base64Error(ValueError):
    """`str(error)` says what is wrong and where, in words for a caller."""


class SizeError(ValueError):
    """It stands for more bytes than are taken."""


def decode_into(
    out: BytesIO,
    text: str | bytes,
    most: int,
    start: int = 0,
    end: int | None = None,
    escaped: bool = False,
) -> None:
    """Append what text[start:end] stands for. `most`: bytes that `out` may hold. Raises
    Base64Error, SizeError. Places count from `start`, of an escaped text without its escapes."""
    end = len(text) if end is None else end
    at = _decode_plain(out, text, most, start, end)
    open_group, padding, padded_at = b"", 0, 0
    for piece in _pieces(text, start + at, end, escaped, at):
        digits = piece.translate(None, WHITE_SPACE)
        body = digits.rstrip(b"=")
        if padding and body:
            raise Base64Error(_early(padded_at))
        if body.translate(None, ALPHABET):
            raise Base64Error(_complaint(piece, at))
        if not padding and len(digits) > len(body):
            padded_at = at + piece.index(b"=")
        padding += len(digits) - len(body)
        group = open_group + body
        whole = len(group) & ~3
        if out.tell() + whole // 4 * 3 > most:
            raise SizeError
        out.write(binascii.a2b_base64(group[:whole]))
        open_group = group[whole:]
        at += len(piece)
    fill = _PADDING.get(len(open_group), 0)
    if padding not in (0, fill) or len(open_group) == 1:
        raise Base64Error(_unfinished(len(open_group), padding))
    out.write(binascii.a2b_base64(open_group + b"=" * fill))


def _decode_plain(out: BytesIO, text: str | bytes, most: int, start: int, end: int) -> int:
    """Append what text[start:end] stands for, up to its last group of four or a slice with
    something else than digits; how many characters that is."""
    last, first = end - 4, start
    while isinstance(text, str) and first < last:
        piece = text[first : min(first + SLICE, last)]
        piece = piece[: len(piece) & ~3]
        if (
            not piece
            or not piece.isascii()
            or "=" in piece
            or out.tell() + len(piece) // 4 * 3 > most
        ):
            break
        try:
            out.write(msgspec.convert(piece, bytes))
        except msgspec.ValidationError:
            break
        first += len(piece)
    return first - start


def _pieces(text: str | bytes, start: int, end: int, escaped: bool, at: int) -> Iterator[bytes]:
    """The slices as bytes; `at`: the place of the first. Raises Base64Error beyond ASCII."""
    rest = b""
    step = ESCAPED_SLICE if escaped else SLICE
    for first in range(start, end, step):
        piece = text[first : min(first + step, end)]
        if isinstance(piece, str):
            if not piece.isascii():
                raise Base64Error(_complaint(piece.encode("utf-8", "replace"), at))
            piece = piece.encode()
        if escaped and (b"%" in piece or rest):
            piece = rest + piece
            rest = found[0] if (found := _UNDONE.search(piece)) and first + step < end else b""
            piece = unquote_to_bytes(piece[: len(piece) - len(rest)])
        yield piece
        at += len(piece)


def _complaint(piece: bytes, at: int) -> str:
    """About the first character that does not belong into the slice that begins at `at`."""
    found = _STRANGE.search(piece)
    assert found is not None
    place = at + found.start()
    match character := found[0]:
        case b"=":
            return _early(place)
        case b"-" | b"_":
            words = f"'{character.decode()}' at position {place} is of the URL-safe alphabet"
            return f"{words}: write '+' for '-', and '/' for '_'"
        case _ if character < b"\x7f" and character.isascii() and character.decode().isprintable():
            return f"'{character.decode()}' at position {place} is not of its alphabet"
        case _:
            code = ord(piece[found.start() :].decode("utf-8", "replace")[0])
            return f"U+{code:04X} at position {place} is not of its alphabet"


def _early(place: int) -> str:
    return f"'=' at position {place} is not at its end"


def _unfinished(rest: int, padding: int) -> str:
    if rest == 1:
        return "it ends with one character of a group of four: something is missing at its end"
    wanted = _PADDING.get(rest, 0)
    return f"it ends with {padding} '=', where {wanted} or none belong"
