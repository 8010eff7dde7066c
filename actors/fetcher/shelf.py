"""Records of the download cache: which URL's bytes are on disk, and what to evict. Pure: names and
sizes in, decisions out."""

from collections import OrderedDict
from typing import NamedTuple

import msgspec

from .freshness import Validators

NOTE_BYTES = 4096
"""What one URL's note counts for: a block of a file system."""


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one URL gave."""

    digest: str
    """SHA-256 of the content, hex; also its file's name."""
    size: int
    """Bytes."""
    expires: float
    """Unix seconds: until then it is what the URL gives."""
    until: float = 0.0
    """Unix seconds: until then its server may be asked whether it still is."""
    validators: Validators = Validators()
    seconds: float = 0.0
    """For which it was fresh, as its server said."""


class Evicted(NamedTuple):
    """Files that are no longer wanted."""

    keys: list[str]
    digests: list[str]


class Shelf:
    """Notes by URL key, contents by digest. No `Bounded`: the bound is one on the bytes of contents
    that several URLs may have given, and whoever adds must hear which files go."""

    def __init__(self, max_bytes: int, max_seconds: float) -> None:
        self._max_bytes, self._max_seconds = max_bytes, max_seconds
        self._notes: dict[str, Note] = {}
        self._contents: OrderedDict[str, set[str]] = OrderedDict()
        """Keys of the URLs that gave it, the least recently used content first."""
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

    def names(self, key: str) -> Note | None:
        """Whatever its time is."""
        return self._notes.get(key)

    def stale(self, key: str, now: float) -> Note | None:
        """What its server may be asked about."""
        note = self._notes.get(key)
        return note if note is not None and note.validators and self._is_kept(note, now) else None

    def add(self, key: str, note: Note, now: float) -> Evicted:
        """As the last used; what no longer fits is evicted, the note itself where it cannot be
        kept."""
        gone = Evicted([], []) if self._notes.get(key) == note else self.drop(key)
        if not self.fits(note.size) or not self._is_kept(note, now):
            gone.keys.append(key)
            gone.digests.append(note.digest)
        else:
            if note.digest not in self._contents:
                self._contents[note.digest] = set()
                self.nbytes += note.size
            if key not in (keys := self._contents[note.digest]):
                keys.add(key)
                self.nbytes += NOTE_BYTES
            self._notes[key] = note
            self._contents.move_to_end(note.digest)
            while self.nbytes > self._max_bytes:
                self.drop(*next(iter(self._contents.values())), into=gone)
        return Evicted(  # without what has come back under the same name
            [key for key in gone.keys if key not in self._notes],
            [digest for digest in gone.digests if digest not in self._contents],
        )

    def drop(self, *keys: str, into: Evicted | None = None) -> Evicted:
        """Forget URLs, and the contents that no other gave. Idempotent."""
        gone = Evicted([], []) if into is None else into
        for key in keys:
            note = self._notes.pop(key, None)
            if note is None:
                continue
            self.nbytes -= NOTE_BYTES
            gone.keys.append(key)
            others = self._contents[note.digest]
            others.discard(key)
            if not others:
                del self._contents[note.digest]
                self.nbytes -= note.size
                gone.digests.append(note.digest)
        return gone

    def expired(self, now: float) -> Evicted:
        """Forget what has expired."""
        return self.drop(
            *[key for key, note in self._notes.items() if not self._is_kept(note, now)]
        )

    def _is_fresh(self, note: Note, now: float) -> bool:
        """A note from further ahead than notes are made was made under another clock or another
        bound."""
        return now < note.expires <= now + self._max_seconds

    def _is_kept(self, note: Note, now: float) -> bool:
        known = now < note.until <= now + self._max_seconds
        return (known and bool(note.validators)) or self._is_fresh(note, now)
