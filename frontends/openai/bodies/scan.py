"""What a JSON body is made of, counted while it comes and before anything decodes it. A parser
builds an object for each value, so structure costs fifty times its bytes in memory and in time;
strings cost their length. What no legal request needs is therefore refused, at the byte that is too
many. The counts are exact: what stands in a string is no structure. Pure."""

import codecs
from array import array
from itertools import accumulate

import msgspec

from ....protocol.errors import RequestError, invalid, refuse

STEP = 1 << 16
"""Bytes that are counted at once: 3 ms where each of them is structure."""
NO_UTF8 = "The body is not valid JSON: it has bytes that are not UTF-8."
NOT_OPEN = "The body is not valid JSON: it closes more brackets than it opens."
_BRACKETS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_OTHERS = bytes(set(range(256)) - set(b"[{]}"))


class Structure(msgspec.Struct):
    """How much of everything a body has; as a limit: how much it may have."""

    depth: int = 0
    """Arrays and objects within one another."""
    containers: int = 0
    """Arrays and objects."""
    keys: int = 0
    strings: int = 0
    """Keys and values."""
    values: int = 0
    """Separated by commas: elements of arrays and members of objects."""

    def within(self, limit: "Structure") -> bool:
        return all(getattr(self, name) <= getattr(limit, name) for name in COUNTS)


COUNTS = Structure.__struct_fields__


def allowed(tokens: int) -> Structure:
    """The most that a request may need of an engine that takes so many tokens at once: a prompt may
    be token ids, a message is up to three objects, a `logit_bias` may name a whole vocabulary."""
    return Structure(
        depth=128, containers=100_000, keys=400_000, strings=600_000, values=600_000 + tokens
    )


class Scan:
    """Fed with a body in pieces. Raises RequestError: 400 for no JSON, 413 beyond `limit`."""

    def __init__(self, limit: Structure) -> None:
        self.found = Structure()
        self.size = 0
        """Bytes."""
        self._limit = limit
        self._open = 0
        """Brackets that have not been closed."""
        self._inside = self._escaped = False
        """A string; the next byte in it belongs to a backslash."""
        self._characters: codecs.IncrementalDecoder | None = None
        self._ascii = True
        """No character is incomplete."""

    def feed(self, data: bytes) -> None:
        for start in range(0, len(data), STEP):
            self._step(data[start : start + STEP])

    def end(self) -> None:
        """The body ends here."""
        if not self._ascii:
            self._decode(b"", True)

    def _step(self, data: bytes) -> None:
        self.size += len(data)
        if not (self._ascii and data.isascii()):
            self._decode(data)
        outside = self._outside(data)
        if outside:
            self._count(outside)
        if not self.found.within(self._limit):
            raise _too_complex(self.found, self._limit)

    def _decode(self, data: bytes, final: bool = False) -> None:
        if self._characters is None:
            self._characters = codecs.getincrementaldecoder("utf-8")()
        try:
            self._characters.decode(data, final)
        except UnicodeDecodeError:
            raise _not_json(NO_UTF8) from None
        self._ascii = not self._characters.getstate()[0]

    def _outside(self, data: bytes) -> bytes:
        """What of `data` is in no string."""
        if self._escaped and data:
            data, self._escaped = data[1:], False
        if b"\\" in data:
            data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
            self._escaped = data.endswith(b"\\")
        pieces = data.split(b'"')
        outside = b"".join(pieces[self._inside :: 2])
        # A string is counted where it begins.
        self.found.strings += (len(pieces) - self._inside) // 2
        self._inside ^= not len(pieces) % 2
        return outside

    def _count(self, outside: bytes) -> None:
        found = self.found
        opened = outside.count(b"[") + outside.count(b"{")
        closed = outside.count(b"]") + outside.count(b"}")
        found.containers += opened
        found.keys += outside.count(b":")
        found.values += outside.count(b",")
        if self._open + opened <= found.depth:
            self._open += opened - closed
        elif opened or closed:
            steps = array("b", outside.translate(_BRACKETS, _OTHERS))
            depths = list(accumulate(steps, initial=self._open))
            found.depth = max(found.depth, max(depths))
            self._open = depths[-1]
        if self._open < 0:
            raise _not_json(NOT_OPEN)


def _not_json(text: str) -> RequestError:
    return invalid(text, code="invalid_json")


def _too_complex(found: Structure, limit: Structure) -> RequestError:
    name = next(name for name in COUNTS if getattr(found, name) > getattr(limit, name))
    words = {"depth": "levels", "values": "elements"}.get(name, name)
    text = (
        f"The body has more than {getattr(limit, name)} {words}, more than any request needs. "
        f"Only strings may be large."
    )
    return refuse("too_large", text, code="body_too_complex")
