"""How a reader hands a call to the server: a head, then piece by piece. Pure."""

from functools import cache
from typing import Any, cast, get_type_hints

import msgspec

from ....protocol.errors import Failure, invalid, refuse
from ....protocol.memory.blobs import BlobRef, Draft
from ....protocol.requests.request import MediaItem
from ...inputs.media import place
from ...inputs.submission import Submission
from .reading import B, Call, Kind, P, Terms

MAX_PIECE = 32 << 20
"""Bytes."""
LONGEST_KEPT = 1024
"""Characters of a text that stays in the body."""


class Job(msgspec.Struct, frozen=True):
    """For a reader, with two descriptors: the body, and the draft for its media."""

    kind: str
    size: int
    """Bytes of the body."""
    draft: str
    """The draft's path."""
    terms: Terms


class Head(msgspec.Struct, frozen=True):
    """A reader's answer; the pieces follow."""

    failure: Failure | None = None
    body: msgspec.Raw = msgspec.Raw(b"\xc0")
    ignored: list[str] = []
    blobs: list[BlobRef] = []
    """What the draft holds."""
    sizes: list[int] = []
    """Bytes of each piece."""


def pack(kind: Kind[B, P], call: Call[B, P], draft: Draft) -> tuple[Head, list[bytes]]:
    """Media go into the draft. Raises RequestError, OSError."""
    try:
        pieces = [msgspec.msgpack.encode(_to_wire(piece, draft)) for piece in call.pieces]
        body = msgspec.Raw(msgspec.msgpack.encode(_without_content(call.body)))
    except (OverflowError, RecursionError):
        raise invalid("It holds a number beyond 64 bits.", code="out_of_range") from None
    if max(map(len, pieces), default=0) > MAX_PIECE:
        text = f"It has more than {MAX_PIECE >> 20} MiB beside its media."
        raise refuse("too_large", text, code="body_too_complex")
    return Head(None, body, call.ignored, draft.refs, list(map(len, pieces))), pieces


def unpack_body(kind: Kind[B, P], head: Head) -> B:
    return msgspec.msgpack.decode(head.body, type=kind.schema)


def unpack_piece(kind: Kind[B, P], data: bytes) -> P:
    if not (isinstance(kind.piece, type) and issubclass(kind.piece, Submission)):
        return cast("P", msgspec.msgpack.decode(data, type=kind.piece))
    wire = msgspec.msgpack.decode(data, type=_wire_type(kind.piece))
    fields = {name: getattr(wire, name) for name in wire.__struct_fields__}
    return cast("P", kind.piece(**fields))


def _to_wire(piece: Any, draft: Draft) -> Any:
    if not isinstance(piece, Submission):
        return piece
    fields = {name: getattr(piece, name) for name in piece.__struct_fields__}
    return _wire_type(type(piece))(**{**fields, "media": place(piece.media, draft)})


@cache
def _wire_type(piece: type[Submission]) -> Any:
    """The same struct with media that have been placed."""
    hints = {**get_type_hints(piece), "media": tuple[MediaItem, ...]}
    return msgspec.defstruct(
        f"Wire{piece.__name__}",
        [(name, hints[name]) for name in piece.__struct_fields__],
        frozen=True,
    )


def _without_content(body: B) -> B:
    """What handlers look at: switches and numbers. The content has become pieces."""
    changes: dict[str, Any] = {}
    for field in msgspec.structs.fields(body):
        value = getattr(body, field.name)
        if isinstance(value, list | dict) or (isinstance(value, str) and len(value) > LONGEST_KEPT):
            changes[field.name] = (
                type(value)() if field.default is msgspec.NODEFAULT else field.default
            )
    return msgspec.structs.replace(body, **changes)
