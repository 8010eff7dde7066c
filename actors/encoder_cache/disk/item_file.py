"""The file of one embedding: who made it, what it is, and its rows, each under a checksum.

    magic    16 bytes
    length   of the head, 4 bytes, little endian
    blake3   of the head, 32 bytes
    head     msgpack of `Head`
    rows     as they lie in memory, [rows, embed_width]

Every length follows from what stands before it, and the file ends where the rows end. Whoever can
write into the folder can make a file that is right in itself: so nothing in it is believed that the
model's facts do not allow, and nothing in it is ever run.
"""

import os
import struct
from typing import NamedTuple

import msgspec
from blake3 import blake3

from ....protocol.edges.decode_worker_to_preprocessor import Decoded
from ....protocol.facts import ModelFacts
from ....protocol.memory.blobs import ITEM_SIZE, Bytes
from ....protocol.wire import Record

MAGIC = b"thespis rows 1\r\n"
_FIXED = struct.Struct("<16sI32s")
MOST_HEAD = 32 << 20
"""Bytes: the positions of the longest item take a few."""
MOST_PARTS = 16


class Damaged(Exception):
    """It is not the file that was looked for, or not whole."""


class Head(Record, frozen=True):
    fingerprint: str
    """Of all that makes embeddings, see `fingerprint`."""
    name: str
    """The embedding's, within that."""
    dtype: str
    shape: tuple[int, int]
    """[rows, embed_width]."""
    digest: bytes
    """blake3 of the rows."""
    item: Decoded | None
    """With the first part of an item: the whole of it, without tensors."""

    @property
    def nbytes(self) -> int:
        """Of the rows."""
        return ITEM_SIZE[self.dtype] * self.shape[0] * self.shape[1]


class Wanted(NamedTuple):
    """What a file has to be."""

    fingerprint: str
    name: str
    dtype: str
    width: int


def digest_of(rows: Bytes) -> bytes:
    return blake3(rows).digest()


def encode_head(head: Head) -> bytes:
    """Everything before the rows."""
    data = msgspec.msgpack.encode(head)
    return _FIXED.pack(MAGIC, len(data), digest_of(data)) + data


def read_head(descriptor: int, size: int, wanted: Wanted) -> tuple[Head, int]:
    """What a file of `size` bytes says of itself, and where its rows begin. Raises Damaged, and
    OSError where it cannot be read."""
    fixed = _read(descriptor, 0, _FIXED.size)
    magic, length, digest = _FIXED.unpack(fixed)
    begin = _FIXED.size + length
    if magic != MAGIC or length > min(MOST_HEAD, size - _FIXED.size):
        raise Damaged
    data = _read(descriptor, _FIXED.size, length)
    if digest_of(data) != digest:
        raise Damaged
    try:
        head = msgspec.msgpack.decode(data, type=Head)
    except (msgspec.DecodeError, RecursionError):
        raise Damaged from None
    told = Wanted(head.fingerprint, head.name, head.dtype, head.shape[1])
    if told != wanted or head.shape[0] < 1 or begin + head.nbytes != size:
        raise Damaged
    return head, begin


def read_rows(descriptor: int, begin: int, head: Head, into: memoryview) -> None:
    """Raises Damaged, and OSError where it cannot be read; `into` may hold anything then."""
    done = 0
    while done < head.nbytes:
        count = os.preadv(descriptor, [into[done:]], begin + done)
        if not count:
            raise Damaged
        done += count
    if digest_of(into) != head.digest:
        raise Damaged


def fits(item: Decoded, model: ModelFacts) -> bool:
    """Whether it can be an item of this model."""
    parts = item.parts
    planes = 4 * model.position_planes * item.tokens
    return (
        0 < len(parts) <= MOST_PARTS
        and all(part.rows > 0 for part in parts)
        and not any(part.tensors for part in parts)
        and all(count >= 0 for count in item.counts)
        and sum(item.counts) == item.rows <= item.tokens
        and (item.planes is None or len(item.planes) == planes)
        and (item.anchors is None or len(item.anchors) == planes // 4)
        and item.advance >= 0
    )


def bare(item: Decoded) -> Decoded:
    """What is kept of it: all but whose work it was, and where its tensors lie."""
    parts = tuple(msgspec.structs.replace(part, tensors={}) for part in item.parts)
    return msgspec.structs.replace(item, job=0, parts=parts, timings=())


def _read(descriptor: int, begin: int, length: int) -> bytes:
    """So many bytes, which the caller has seen that there are. Raises Damaged."""
    data = os.pread(descriptor, length, begin)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), begin + len(data))
        if not more:
            raise Damaged
        data += more
    return data
