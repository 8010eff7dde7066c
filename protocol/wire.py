"""The one encode and the one decode of the tree. Both refuse what they do not know."""

from typing import Any, Generic, TypeVar, cast

import msgspec

M = TypeVar("M")


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """The base of everything that travels in an edge's union."""


class OfRequest(Message, frozen=True):
    """About one attempt of one request."""

    id: str
    attempt: int


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """The base of what lies inside messages: an array of its fields, without their names."""


class WireError(Exception):
    """Bytes that are no message of this edge."""


_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    return _encoder.encode(message)


class Decoder(Generic[M]):
    """Decodes one edge's union: `Decoder[FetcherToClient](FetcherToClient)`."""

    def __init__(self, union: object) -> None:
        self._decoder = msgspec.msgpack.Decoder(cast(Any, union))

    def decode(self, data: bytes | memoryview) -> M:
        try:
            return cast(M, self._decoder.decode(data))
        except (msgspec.DecodeError, RecursionError) as error:
            raise WireError(str(error)) from error
