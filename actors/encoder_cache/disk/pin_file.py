"""The mark of a pinned file: which embeddings stay on disk for it. What it says is believed only as
far as it goes: a mark that is damaged, or another's, pins nothing.

    magic    16 bytes
    blake3   of what follows, 32 bytes
    record   msgpack of `Mark`
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from ....protocol.memory.blobs import Bytes
from ....protocol.wire import Record
from .item_file import MOST_PARTS, Damaged, digest_of

MAGIC = b"thespis pin 001\n"
MOST = 4096
"""Bytes of a file."""
MOST_MARKS = 4096
"""Of all tenants: all are read when room is made."""
_NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{64}")


class Mark(Record, frozen=True):
    name: str
    """Its file's: beginning of the fingerprint, and the owner."""
    tenant: str
    files: dict[str, int]
    """What stays, by name, and what each takes, in bytes."""
    expires: float | None
    """Seconds by time.time."""

    @property
    def well_formed(self) -> bool:
        return len(self.files) <= MOST_PARTS and all(
            _NAME.fullmatch(name) and 0 < room < 1 << 62 for name, room in self.files.items()
        )


class Share(NamedTuple):
    """What may be pinned, in bytes and marks."""

    nbytes: int
    marks: int


def encode_mark(mark: Mark) -> bytes:
    data = msgspec.msgpack.encode(mark)
    return MAGIC + digest_of(data) + data


def decode_mark(file: Bytes, name: str) -> Mark:
    """Raises Damaged."""
    file = bytes(file)
    begin = len(MAGIC) + 32
    if file[: len(MAGIC)] != MAGIC or file[len(MAGIC) : begin] != digest_of(file[begin:]):
        raise Damaged
    try:
        mark = msgspec.msgpack.decode(file[begin:], type=Mark)
    except (msgspec.DecodeError, RecursionError):
        raise Damaged from None
    if mark.name != name or not mark.well_formed:
        raise Damaged
    return mark


def pinned_bytes(marks: Iterable[Mark], block: int) -> int:
    """With the marks' own blocks. What several have pinned counts once."""
    rooms: dict[str, int] = {}
    count = 0
    for mark in marks:
        rooms |= mark.files
        count += 1
    return sum(rooms.values()) + count * block


def fits(new: Mark, others: Iterable[Mark], share: Share, block: int) -> bool:
    """Whether it may come to what `share` is the bound of."""
    held = [*others, new]
    return len(held) <= share.marks and pinned_bytes(held, block) <= share.nbytes
