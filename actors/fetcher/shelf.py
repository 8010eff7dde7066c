"""Records of the download cache: which URL's bytes are on disk, and what to evict. Pure: names and
sizes in, decisions out."""

from collections import OrderedDict
from typing import NamedTuple

import msgspec

NOTE_BYTES = 4096
"""What one URL's note counts for: a block of a file system."""


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one URL gave."""

    digest: str
    """SHA-256 of the content, hex; also its file's name."""
    size: int
    """Bytes."""
    expires: float
    """Unix seconds."""


class Evicted(NamedTuple):
    """Files that are no longer wanted."""

    keys: list[str]
    digests: list[str]


class _Content:
    __slots__ = ("keys", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.keys: set[str] = set()
        """The URLs that gave it."""


class Shelf:
    """Notes by URL key, contents by digest, the least recently used first."""

    def __init__(self, max_bytes: int, max_seconds: float) -> None:
        self._max_bytes, self._max_seconds = max_bytes, max_seconds
        self._notes: dict[str, Note] = {}
        self._contents: OrderedDict[str, _Content] = OrderedDict()
        self.nbytes = 0
        """Contents and notes."""

    def __len__(self) -> int:
        return len(self._notes)

    def holds(self, digest: str) -> bool:
        return digest in self._contents

    def fits(self, size: int) -> bool:
        return size + NOTE_BYTES <= self._max_bytes

    def find(self, key: str, now: float) -> Note | None:
        """Counts as a use."""
        note = self._notes.get(key)
        if note is None or not self._is_fresh(note, now):
            return None
        self._contents.move_to_end(note.digest)
        return note

    def add(self, key: str, note: Note, now: float) -> Evicted:
        """As the last used; what no longer fits is evicted, the note itself where it cannot be
        kept."""
        gone = Evicted([], [])
        if self._notes.get(key) != note:
            self._drop(key, gone)
        if not self.fits(note.size) or not self._is_fresh(note, now):
            gone.keys.append(key)
            gone.digests.append(note.digest)
        else:
            content = self._contents.get(note.digest)
            if content is None:
                content = self._contents[note.digest] = _Content(note.size)
                self.nbytes += note.size
            if key not in content.keys:
                content.keys.add(key)
                self.nbytes += NOTE_BYTES
            self._notes[key] = note
            self._contents.move_to_end(note.digest)
            while self.nbytes > self._max_bytes:
                for oldest in list(next(iter(self._contents.values())).keys):
                    self._drop(oldest, gone)
        return self._really(gone)

    def drop(self, key: str) -> Evicted:
        """Forget one URL, and its content if no other gave the same. Idempotent."""
        gone = Evicted([], [])
        self._drop(key, gone)
        return gone

    def expired(self, now: float) -> Evicted:
        """Forget what has expired."""
        gone = Evicted([], [])
        for key in [key for key, note in self._notes.items() if not self._is_fresh(note, now)]:
            self._drop(key, gone)
        return gone

    def _drop(self, key: str, gone: Evicted) -> None:
        note = self._notes.pop(key, None)
        if note is None:
            return
        self.nbytes -= NOTE_BYTES
        gone.keys.append(key)
        content = self._contents[note.digest]
        content.keys.discard(key)
        if not content.keys:
            del self._contents[note.digest]
            self.nbytes -= content.size
            gone.digests.append(note.digest)

    def _really(self, gone: Evicted) -> Evicted:
        """Without what has come back under the same name."""
        return Evicted(
            [key for key in gone.keys if key not in self._notes],
            [digest for digest in gone.digests if digest not in self._contents],
        )

    def _is_fresh(self, note: Note, now: float) -> bool:
        """A note from further ahead than notes are made was made under another clock or another
        bound."""
        return now < note.expires <= now + self._max_seconds
