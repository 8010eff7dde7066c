"""One family of stored things on disk, of all tenants. Everything here blocks, and may be called
from several threads: `Storage` is for an event loop.

    FOLDER/v1/files/<tenant>/<id>/note       what is known of it, as JSON
    FOLDER/v1/files/<tenant>/<id>/content    its bytes
    FOLDER/v1/files/<tenant>/.part-<random>  an entry that is being written, locked by its writer

An entry is written in a folder that nobody looks into, which then is renamed: it is there whole or
not at all, wherever its writer is killed. Several engines may have one folder.
"""

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ....actors.jobs.identity import HASHERS
from ....protocol.errors import RequestError, refuse
from . import folder
from .books import CONTENT, Books, Bounds
from .folder import PART, SAFE
from .ids import Family, is_tenant_folder, tenant_folder

LAYOUT = "v1"
STEP = 1 << 20
"""Bytes that a draft writes before it asks again whether there is room."""
NOTE, NOTE_DRAFT = "note", "note.draft"
MAX_NOTE = 1 << 18
"""Bytes."""


class Entry(msgspec.Struct, frozen=True):
    """What lies in an entry's `note`."""

    id: str
    created: float
    """Seconds by time.time, like `expires`."""
    size: int
    """Bytes of the content."""
    digest: str
    """Of the content, behind the hasher's name: `blake3:...`."""
    note: msgspec.Raw
    """What its owner has written of it: `read_note`."""
    expires: float | None = None

    def over(self, now: float) -> bool:
        return self.expires is not None and self.expires <= now


def unknown(family: Family, id: str) -> RequestError:
    """Who asks for what is another tenant's is told no more than of what never was."""
    what = {"file-": "file", "resp_": "response", "batch_": "batch"}[family.prefix]
    shown = f"{what} {id}" if family.is_id(id) else f"{what} with this id"
    return refuse("not_found", f"There is no {shown} of this key.", code="not_found")


class Store:
    """`hasher`: the engine's, so that a picture need not be hashed again."""

    def __init__(
        self,
        root: Path,
        family: Family,
        bounds: Bounds,
        hasher: str = "blake3",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.family = family
        self.hasher, self.clock = hasher, clock
        self._base = root
        self._root = root / LAYOUT / family.folder
        self._books = Books(self._root, family, bounds)
        self._lock = threading.Lock()
        """Of the books, and of what is being written."""
        self._drawing = threading.Lock()
        self._replacing = threading.Lock()
        self._writing: dict[str, int] = {}
        """Bytes, by tenant's folder."""
        self._drawn = 0
        """When the last id was drawn."""

    def begin(self, tenant: str) -> "Draft":
        """A new entry, for `write` and `keep`; `drop` it in any case. Raises RequestError,
        OSError."""
        place = folder.make_within(self._base, LAYOUT, self.family.folder, self._place(tenant).name)
        with self._lock:
            self._books.check(
                place.name, 0, self._writing.get(place.name, 0), sum(self._writing.values())
            )
        while True:
            path = place / f"{PART}{secrets.token_hex(12)}"
            path.mkdir(mode=0o700)
            if (fd := folder.lock(path, wait=False)) is not None:  # else somebody sweeps it
                return Draft(self, place.name, path, fd)

    def add(
        self, tenant: str, content: bytes, note: msgspec.Struct, lasts: float | None = None
    ) -> Entry:
        """A whole entry at once. Raises RequestError, OSError."""
        with self.begin(tenant) as draft:
            draft.write(content)
            return draft.keep(note, lasts)

    def find(self, tenant: str, id: str) -> Entry:
        """Raises RequestError 404: also for another tenant's, for what is over, and for no id."""
        if not self.family.is_id(id):
            raise unknown(self.family, id)
        entry = self._read(self._place(tenant) / id)
        if entry is None or entry.over(self.clock()):
            raise unknown(self.family, id)
        return entry

    def open(self, tenant: str, id: str) -> tuple[Entry, int]:
        """With a descriptor of its content, which outlives the entry. Raises RequestError 404."""
        entry = self.find(tenant, id)
        try:
            return entry, os.open(self.place(tenant, id) / CONTENT, os.O_RDONLY | SAFE)
        except FileNotFoundError:
            raise unknown(self.family, id) from None

    def place(self, tenant: str, id: str) -> Path:
        """The entry's folder, in which its owner may keep more files. Raises RequestError 404."""
        if not self.family.is_id(id):
            raise unknown(self.family, id)
        return self._place(tenant) / id

    def entries(self, tenant: str, descending: bool = True, after: str = "") -> Iterator[Entry]:
        """In the order of their creation, read one by one. `after`: an id, which need not be there
        any more; RequestError 404 for what is none."""
        if after and not self.family.is_id(after):
            raise unknown(self.family, after)
        place, now = self._place(tenant), self.clock()
        for id in sorted(filter(self.family.is_id, folder.names(place)), reverse=descending):
            if after and (id >= after if descending else id <= after):
                continue
            if (entry := self._read(place / id)) is not None and not entry.over(now):
                yield entry

    def replace(self, tenant: str, entry: Entry, note: msgspec.Struct) -> Entry:
        """With another note, and `entry.expires`. Writers of one entry take turns by themselves.
        Raises RequestError 404, OSError."""
        changed = msgspec.structs.replace(entry, note=_raw(note))
        place = self.place(tenant, entry.id)
        try:
            with self._replacing:
                folder.replace_file(place / NOTE, place / NOTE_DRAFT, msgspec.json.encode(changed))
        except FileNotFoundError:
            raise unknown(self.family, entry.id) from None
        return changed

    def remove(self, tenant: str, id: str) -> None:
        """Raises RequestError 404."""
        if not folder.remove(self.place(tenant, id), secrets.token_hex(12)):
            raise unknown(self.family, id)

    def tenants(self) -> list[str]:
        """Of which something may be stored."""
        found = filter(is_tenant_folder, folder.names(self._root))
        return ["" if tenant_folder("") == name else name for name in found]

    def sweep(self) -> int:
        """Remove what is over, and what dead processes have left half-written; how many. A note
        that is damaged, or of another version, is left alone with its content."""
        swept, now = 0, self.clock()
        for tenant in self.tenants():
            place = self._place(tenant)
            swept += folder.sweep_halves(place)
            for id in filter(self.family.is_id, folder.names(place)):
                entry = self._read(place / id)
                if entry is not None and entry.over(now):
                    swept += folder.remove(place / id, secrets.token_hex(12))
        return swept

    def room(self, tenant: str) -> "Room":
        """For one entry that is to be: `release` it in any case."""
        return Room(self, tenant_folder(tenant))

    def stored(self, tenant: str | None = None) -> tuple[int, int]:
        """Number and bytes; None: of all tenants."""
        with self._lock:
            found = self._books.total() if tenant is None else self._books.of(tenant_folder(tenant))
            return found.entries, found.nbytes

    def _place(self, tenant: str) -> Path:
        """Raises OSError where others may have written to it."""
        return folder.find_private(self._base, LAYOUT, self.family.folder, tenant_folder(tenant))

    def _read(self, path: Path) -> Entry | None:
        """None: there is none, or it is damaged."""
        data = folder.read_small(path / NOTE, 2 * MAX_NOTE)
        if data is None:
            return None
        try:
            entry = msgspec.json.decode(data, type=Entry)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        return entry if entry.id == path.name else None

    # for drafts and rooms

    def reserve(self, tenant: str, size: int, more: int) -> None:
        """What has `size` bytes is about to have `more`. Raises RequestError."""
        with self._lock:
            writing, of_all = self._writing.get(tenant, 0), sum(self._writing.values())
            self._books.check(tenant, size + more, writing - size, of_all - size)
            self._writing[tenant] = writing + more

    def release(self, tenant: str, size: int) -> None:
        with self._lock:
            self._writing[tenant] = self._writing.get(tenant, 0) - size
            if not self._writing[tenant]:
                del self._writing[tenant]

    def draw(self) -> tuple[str, float]:
        """An id, and the time that it tells."""
        with self._drawing:  # the loop draws, and must not wait for who counts a folder
            now = self.clock()
            self._drawn = max(self._drawn + 1, int(now * 1e6))
            return self.family.new_id(self._drawn, secrets.token_hex), now

    def commit(self, tenant: str, path: Path, entry: Entry) -> None:
        """Let it be there. What others have stored meanwhile counts. Raises RequestError,
        OSError."""
        folder.sync_folder(path)
        with folder.held(self._root):
            with self._lock:
                self._books.check(tenant, entry.size)
            os.rename(path, path.with_name(entry.id))
        try:
            folder.sync_folder(path.parent)
        except OSError:  # its caller is told that it is not stored
            os.rename(path.with_name(entry.id), path)
            raise


class Room:
    """Bytes that are not stored yet, and count as if they were."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store, self._tenant = store, tenant
        self._lock = threading.Lock()
        self._open = True
        self.size = 0

    def grow(self, more: int) -> None:
        """Raises RequestError where there is no room."""
        with self._lock:
            if self._open:  # else whoever wanted it has left
                self._store.reserve(self._tenant, self.size, more)
                self.size += more

    def release(self) -> None:
        """For good. Idempotent."""
        with self._lock:
            if self._open:
                self._store.release(self._tenant, self.size)
            self._open = False


class Draft:
    """An entry that is not there yet. Use it in `with`: what is not kept leaves nothing. Who leaves
    may drop it while a thread still writes."""

    def __init__(self, store: Store, tenant: str, path: Path, held: int) -> None:
        self._store, self._tenant, self._path = store, tenant, path
        self._held = held
        self._lock = threading.Lock()
        self._digest = HASHERS[store.hasher]()
        self.size = 0
        """Bytes."""
        self._room = Room(store, tenant)
        self._kept = False
        try:
            self._file = os.open(path / CONTENT, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, 0o600)
        except OSError:
            os.close(held)
            raise

    def write(self, data: bytes | memoryview) -> None:
        """Raises RequestError where there is no room, OSError."""
        with self._lock:
            self._check_open()
            self.size += len(data)
            if (more := self.size - self._room.size) >= STEP:
                self._room.grow(more)
            self._digest.update(data)
            folder.write_whole(self._file, data)

    def keep(
        self, note: msgspec.Struct, lasts: float | None = None, id: str | None = None
    ) -> Entry:
        """From here on it is stored, whatever happens. `lasts`: seconds from then; None: until
        somebody removes it. `id`: one that was drawn for it before. Raises RequestError,
        OSError."""
        raw = _raw(note)
        with self._lock:
            self._check_open()
            os.fsync(self._file)
            drawn, now = self._store.draw()
            id = id or drawn
            digest = f"{self._store.hasher}:{self._digest.hexdigest()}"
            expires = None if lasts is None else now + lasts
            entry = Entry(id, now, self.size, digest, raw, expires)
            folder.put_file(self._path / NOTE, msgspec.json.encode(entry))
            self._store.commit(self._tenant, self._path, entry)
            self._kept = True
            return entry

    def drop(self) -> None:
        """Unless it was kept. Idempotent."""
        with self._lock:
            if self._file < 0:
                return
            os.close(self._file)
            self._file = -1
            self._room.release()
            if not self._kept:
                folder.remove(self._path, secrets.token_hex(12))
            os.close(self._held)

    def _check_open(self) -> None:
        if self._file < 0:
            raise ValueError("the draft was dropped")

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, *error: object) -> None:
        self.drop()


def _raw(note: msgspec.Struct) -> msgspec.Raw:
    data = msgspec.json.encode(note)
    if len(data) > MAX_NOTE:
        text = f"What is said of it has more than {MAX_NOTE >> 10} KiB."
        raise refuse("too_large", text, code="note_too_large")
    return msgspec.Raw(data)
