"""The file of a caller's id: which content it stands for. It names no caller and no content but by
digests, and is as little believed as that of an embedding: what is found by it belongs to who asks.

    magic    16 bytes
    blake3   of what follows, 32 bytes
    record   msgpack of `IdRecord`
"""

import re

import msgspec

from ....protocol.memory.blobs import Bytes
from ....protocol.wire import Record
from .item_file import Damaged, digest_of

MAGIC = b"thespis id 001\r\n"
MOST = 1024
"""Bytes of a file."""
_DIGEST = re.compile(r"[0-9a-f]{64}([0-9a-f]{64})?")


class IdRecord(Record, frozen=True):
    fingerprint: str
    name: str
    """The id's, within that."""
    digest: str
    """Of the content, hex."""


def encode_id(record: IdRecord) -> bytes:
    data = msgspec.msgpack.encode(record)
    return MAGIC + digest_of(data) + data


def decode_id(file: Bytes, fingerprint: str, name: str) -> str:
    """The digest. Raises Damaged."""
    file = bytes(file)
    begin = len(MAGIC) + 32
    if file[: len(MAGIC)] != MAGIC or file[len(MAGIC) : begin] != digest_of(file[begin:]):
        raise Damaged
    try:
        record = msgspec.msgpack.decode(file[begin:], type=IdRecord)
    except (msgspec.DecodeError, RecursionError):
        raise Damaged from None
    if (record.fingerprint, record.name) != (fingerprint, name):
        raise Damaged
    if not _DIGEST.fullmatch(record.digest):
        raise Damaged
    return record.digest
