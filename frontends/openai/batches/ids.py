"""Which ids have been seen, of a million lines, too: 16 bytes each."""

import hashlib
from typing import Any

import numpy as np

WIDTH = 16
LEAST, PART = 4096, 8
"""How many lie in a set before they are put in order: at least so many, and an eighth of all."""


class KnownIds:
    """A set of texts that tells whether one is in it and how many there are, and none of them."""

    def __init__(self) -> None:
        self._ordered: np.ndarray[Any, np.dtype[np.bytes_]] = np.empty(0, f"S{WIDTH}")
        self._new: set[bytes] = set()

    def add(self, id: str) -> None:
        digest = _digest(id)
        if self._is_ordered(digest):
            return
        self._new.add(digest)
        if len(self._new) >= max(LEAST, len(self._ordered) // PART):
            more = np.array(sorted(self._new), f"S{WIDTH}")
            self._ordered = np.sort(np.concatenate([self._ordered, more]))
            self._new = set()

    def __contains__(self, id: str) -> bool:
        digest = _digest(id)
        return digest in self._new or self._is_ordered(digest)

    def __len__(self) -> int:
        return len(self._ordered) + len(self._new)

    def _is_ordered(self, digest: bytes) -> bool:
        place = int(np.searchsorted(self._ordered, np.bytes_(digest)))
        # numpy leaves out the zeros at an end
        return place < len(self._ordered) and self._ordered[place] == digest.rstrip(b"\0")


def _digest(id: str) -> bytes:
    return hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=WIDTH).digest()
