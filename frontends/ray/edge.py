"""What the door and its replicas say to each other: bytes, written and read here alone."""

from typing import Literal

import msgspec

from ..openai.answers.carried import SoFar


class CallHead(msgspec.Struct, frozen=True):
    """A call without its body."""

    method: str
    target: str
    """Path and query, as they came."""
    headers: list[tuple[str, str]]


class AnswerHead(msgspec.Struct, frozen=True):
    """How an answer begins."""

    status: int
    headers: list[tuple[str, str]]
    replica: str
    whole: bool
    """It is soon complete, and may be asked for again until then."""


AnswerPiece = tuple[Literal["head", "piece", "end", "lost"], bytes, bytes]
"""`head`: an AnswerHead. `piece`: of the body, behind what its caller has with it. `end`: it is
complete. `lost`: the engine has ended, and another one goes on."""
END: AnswerPiece = ("end", b"", b"")
LOST: AnswerPiece = ("lost", b"", b"")

_encoder = msgspec.msgpack.Encoder()
_asked, _head = msgspec.msgpack.Decoder(CallHead), msgspec.msgpack.Decoder(AnswerHead)
_so_far, _news = msgspec.msgpack.Decoder(SoFar), msgspec.msgpack.Decoder(list[SoFar])


def encode(value: CallHead | AnswerHead | SoFar | list[SoFar]) -> bytes:
    return _encoder.encode(value)


def asked_of(data: bytes) -> CallHead:
    return _asked.decode(data)


def head_of(data: bytes) -> AnswerHead:
    return _head.decode(data)


def so_far_of(data: bytes) -> SoFar | None:
    """None where nothing was given."""
    return _so_far.decode(data) if data else None


def news_of(data: bytes) -> list[SoFar]:
    return _news.decode(data) if data else []


HOP_BY_HOP = frozenset({
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "expect",
})  # fmt: skip
"""Headers of one connection."""
