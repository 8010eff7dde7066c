"""Embeddings that outlive the process: written by a thread of its own, read by threads of their
caller's. No loop waits for a disk here, and no encoder.

What is damaged, cut or another's is a miss, and removed. A disk that is full, or gone, costs a line
in the log and the file that did not fit.
"""

import errno
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ....protocol.bounded import Bounded
from ....protocol.config.roles import DiskTier
from ....protocol.edges.client_to_encoder_cache import Pin, Unpin
from ....protocol.edges.decode_worker_to_preprocessor import Decoded
from ....protocol.errors import EngineError, Failure
from ....protocol.facts import ModelFacts
from ....protocol.memory.blobs import Bytes
from ....protocol.refusals import NOT_KEPT
from ...jobs.identity import named, part_keys
from .folder import Folder
from .id_file import MOST, IdRecord, decode_id, encode_id
from .item_file import (
    Damaged,
    Head,
    Wanted,
    bare,
    digest_of,
    encode_head,
    fits,
    read_head,
    read_rows,
)
from .pinning import BUSY, worded

log = logging.getLogger(__name__)
BACKLOG_BYTES = 256 << 20
"""Waiting to be written; what comes beyond it is not kept: memory is for requests."""
MOST_WAITING = 1 << 14
"""Things to be written, before an id is not kept."""
CLOSE_SECONDS = 2.0
"""For which an end waits for what is still to be written."""
NAMES = 1 << 17
"""Embeddings that are known to be here, those used last: 200 bytes each."""


class Stored(NamedTuple):
    """One file that was found and is what it should be, its rows not read yet. Close it."""

    name: str
    descriptor: int
    begin: int
    head: Head

    @property
    def rows(self) -> int:
        return self.head.shape[0]

    def close(self) -> None:
        os.close(self.descriptor)


class _Write(NamedTuple):
    name: str
    rows: memoryview
    shape: tuple[int, int]
    item: Decoded | None


class _WriteId(NamedTuple):
    name: str
    digest: str


class _Ask(NamedTuple):
    question: Pin | Unpin
    tell: Callable[[Failure | None], object]


class Tier:
    """Methods of its own thread and of its callers' readers say so; all others are the loop's."""

    def __init__(self, config: DiskTier, model: ModelFacts, dtype: str, fingerprint: str) -> None:
        self._folder = Folder(config.folder, config.max_bytes)
        self._place = config.folder
        self._model, self._dtype, self._fingerprint = model, dtype, fingerprint
        self._known: Bounded[str, str] = Bounded(NAMES)
        """By key the name under which it was found or written."""
        self._todo: deque[_Write | _WriteId | _Ask | None] = deque()
        """None: everything of this model goes."""
        self._backlog = 0
        self._news = threading.Condition()
        """Guards the two above this line, and counters that several threads raise."""
        self._closed = self._emptied = False
        self._warned = False
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)
        self.hits = self.misses = self.written = self.dropped = self.damaged = 0

    def open(self) -> None:
        """Raises EngineError where the folder cannot be used."""
        try:
            self._folder.open()
        except OSError as error:
            text = f"encoder_cache_dir: {self._place!r} cannot be used: {error.strerror}."
            raise EngineError(text) from None
        self._thread.start()

    def close(self) -> None:
        """Waits a moment for what is still to be written."""
        with self._news:
            self._closed = True
            self._news.notify()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._folder.close()

    def counters(self) -> dict[str, float]:
        return {
            "disk_hits": self.hits,
            "disk_misses": self.misses,
            "disk_written": self.written,
            "disk_dropped": self.dropped,
            "disk_damaged": self.damaged,
            "disk_waiting_bytes": self._backlog,
            "disk_bytes": self._folder.taken,
        }

    def knows(self, key: str) -> bool:
        """It was found or written here, and is probably there still."""
        return key in self._known

    def name_of(self, key: str) -> str | None:
        return self._known.use(key)

    def learn(self, key: str, name: str) -> None:
        self._known[key] = name

    def forget(self, key: str) -> None:
        self._known.pop(key, None)

    def keep(
        self, key: str, name: str, rows: memoryview, shape: tuple[int, int], item: Decoded | None
    ) -> None:
        """Returns at once; nobody changes `rows` any more."""
        write = _Write(name, rows, shape, None if item is None else bare(item))
        with self._news:
            late = self._todo and self._backlog + rows.nbytes > BACKLOG_BYTES
            if late or self._closed:
                self.dropped += 1
                return
            self._todo.append(write)
            self._backlog += rows.nbytes
            self._news.notify()
        self.learn(key, name)

    def keep_id(self, name: str, digest: str) -> None:
        """What a caller's id stands for; returns at once."""
        with self._news:
            if len(self._todo) >= MOST_WAITING or self._closed:
                self.dropped += 1
                return
            self._todo.append(_WriteId(name, digest))
            self._news.notify()

    def ask(self, question: Pin | Unpin, tell: Callable[[Failure | None], object]) -> None:
        """Behind all that is to be written; `tell` is called once, by any thread."""
        with self._news:
            if len(self._todo) < MOST_WAITING and not self._closed:
                self._todo.append(_Ask(question, tell))
                self._news.notify()
                return
        tell(BUSY)

    def empty(self) -> None:
        """Nothing of this model is found any more; the files go as soon as may be."""
        self._known.clear()
        with self._news:
            for write in self._todo:
                self._backlog -= write.rows.nbytes if isinstance(write, _Write) else 0
            asked = [ask for ask in self._todo if isinstance(ask, _Ask)]
            self._todo.clear()
            self._todo.extend((None, *asked))
            self._emptied = True
            self._news.notify()

    # in readers' threads

    def find_item(self, key: str, name: str) -> tuple[Decoded, list[Stored]] | None:
        """The item `name` with all its parts, as it is called now: `key`."""
        first = self.find(name)
        if first is None:
            return None
        item = first.head.item
        if item is None or not fits(item, self._model) or first.rows != item.parts[0].rows:
            first.close()
            self._throw_away(name)
            return None
        found, names = [first], part_keys(name, len(item.parts))
        for part, other in zip(item.parts[1:], names[1:], strict=True):
            stored = self.find(other)
            if stored is not None and stored.rows != part.rows:
                stored.close()
                self._throw_away(other)
                stored = None
            if stored is None:
                close_all(found)
                return None
            found.append(stored)
        return named(item, key), found

    def find(self, name: str) -> Stored | None:
        """None: it is not there, or not right."""
        if self._emptied:
            return None
        descriptor = -1
        try:
            opened = self._folder.find(self._file(name))
            if opened is None:
                return None
            descriptor, size = opened
            wanted = Wanted(self._fingerprint, name, self._dtype, self._model.embed_width)
            head, begin = read_head(descriptor, size, wanted)
            return Stored(name, descriptor, begin, head)
        except Damaged:
            self._throw_away(name)
        except OSError as error:
            if error.errno == errno.ELOOP:
                self._throw_away(name)
            else:
                self._warn("read", error)
        if descriptor >= 0:
            os.close(descriptor)
        return None

    def find_id(self, name: str) -> str | None:
        """The digest of what a caller's id stands for; None: it is not there, or not right."""
        if self._emptied:
            return None
        try:
            opened = self._folder.find(self._file(name))
            if opened is None:
                return None
            descriptor, size = opened
            try:
                if size > MOST:
                    raise Damaged
                digest = decode_id(os.pread(descriptor, MOST, 0), self._fingerprint, name)
                self._folder.used(descriptor)
            finally:
                os.close(descriptor)
            return digest
        except Damaged:
            self._throw_away(name)
        except OSError as error:
            self._warn("read", error)
        return None

    def read(self, stored: Stored, into: memoryview) -> bool:
        """Its rows, and it is closed. False: they are not right."""
        try:
            read_rows(stored.descriptor, stored.begin, stored.head, into)
            self._folder.used(stored.descriptor)
            return True
        except Damaged:
            self._throw_away(stored.name)
        except OSError as error:
            self._warn("read", error)
        finally:
            stored.close()
        return False

    def _throw_away(self, name: str) -> None:
        self._folder.remove(self._file(name))
        with self._news:
            self.damaged += 1

    # in the thread that writes

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._todo and not self._closed:
                    self._news.wait()
                if not self._todo:
                    return
                write = self._todo.popleft()
            try:
                match write:
                    case None:
                        self._empty()
                    case _Ask():
                        self._answer(write)
                    case _WriteId():
                        self._write_id(write)
                    case _:
                        self._write(write)
            finally:
                if isinstance(write, _Write):
                    with self._news:
                        self._backlog = max(0, self._backlog - write.rows.nbytes)

    def _write(self, write: _Write) -> None:
        head = Head(
            self._fingerprint,
            write.name,
            self._dtype,
            write.shape,
            digest_of(write.rows),
            write.item,
        )
        self._write_file(write.name, (encode_head(head), write.rows))

    def _write_id(self, write: _WriteId) -> None:
        """In place of what it stood for before."""
        known = self.find_id(write.name)
        if known == write.digest:
            return
        if known is not None:
            self._folder.remove(self._file(write.name))
        record = IdRecord(self._fingerprint, write.name, write.digest)
        self._write_file(write.name, (encode_id(record),))

    def _write_file(self, name: str, pieces: Sequence[Bytes]) -> None:
        try:
            new = self._folder.write(self._file(name), pieces)
        except OSError as error:
            with self._news:
                self.dropped += 1
            self._warn("write", error)
        else:
            self.written += new

    def _answer(self, ask: _Ask) -> None:
        question, failure = ask.question, None
        try:
            match question:
                case Pin():
                    failure = self._pin(question)
                case Unpin(owner=owner):
                    self._folder.unpin(owner)
        except OSError as error:
            failure = BUSY
            self._warn("pin", error)
        ask.tell(failure)

    def _pin(self, pin: Pin) -> Failure | None:
        """Raises OSError."""
        found = self.find_item(pin.name, pin.name)
        if found is None:
            return NOT_KEPT
        close_all(found[1])
        files = [self._file(one.name) for one in found[1]]
        return worded(self._folder.pin(self._file(pin.owner), pin.tenant, files, pin.expires))

    def _empty(self) -> None:
        try:
            self._folder.remove_all(self._file(""))
            self._emptied = False
        except OSError as error:
            self._warn("empty", error)
            # what could not be removed must not be found: from now on nothing is

    def _file(self, name: str) -> str:
        return f"{self._fingerprint[:16]}-{name}"

    def _warn(self, what: str, error: OSError) -> None:
        """Once: a full disk would fill the log, too."""
        if not self._warned:
            self._warned = True
            log.warning(
                "the encoder cache's folder: a file could not be handled (%s): %s; embeddings that "
                "are not there are encoded, and this is not said again",
                what,
                error.strerror,
            )


def close_all(found: Sequence[Stored]) -> None:
    for stored in found:
        stored.close()
