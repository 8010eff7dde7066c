"""The records of a store some of whose embeddings are on disk, from where they are read instead of
being encoded. Pure."""

from collections.abc import Callable

from ...protocol.edges.decode_worker_to_preprocessor import Decoded
from ...protocol.edges.encoder_cache_to_preprocessor import FeaturesRead
from ...protocol.memory.blobs import BlobRef
from .entries import EmbeddingEntry, EntryState, ReadKept, StoreEffect
from .store import Store


class KeptStore(Store):
    def __init__(
        self, capacity: int, row_bytes: int, features_limit: int, ahead: bool = True
    ) -> None:
        super().__init__(capacity, row_bytes, features_limit, ahead)
        self.kept: Callable[[str], bool] = lambda key: False
        """Whether an embedding is on disk, as far as its owner knows, who sets this."""

    def item(self, key: str) -> Decoded | None:
        """What is known of an item whose embedding is here, or is about to be."""
        entry = self._books.entries.get(key)
        item = None if entry is None or entry.retired else entry.item
        parts = () if item is None else item.parts
        whole = all(part.key in self._books.entries or self.kept(part.key) for part in parts)
        return item if whole else None

    def lasting(self, key: str) -> bool:
        """No reset has come since it was begun."""
        return not self._books.entries[key].retired

    def reserve(self, key: str, rows: int) -> tuple[bool, list[StoreEffect]]:
        """Room for an embedding that is about to be read. False: it is here, or there is none."""
        entry = self._books.entries.get(key)
        if entry is None and self._books.make_room({key: rows}):
            entry = self._books.add(key, rows, 0.0)
        elif entry is None or entry.state is not EntryState.WANTED or entry.rows != rows:
            return False, self._effects()
        # Who asked for a page has found out what it is called on disk.
        self._books.dequeue(key)
        entry.state = EntryState.READING
        return True, self._effects()

    def waits(self, key: str) -> bool:
        """Somebody does, for features."""
        entry = self._books.entries.get(key)
        return entry is not None and entry.state is EntryState.WANTED

    def recalled(self, key: str, blob: BlobRef, item: Decoded | None) -> list[StoreEffect]:
        entry = self._books.entries[key]
        entry.item = entry.item or item
        if key in self._features:
            self._books.tell(FeaturesRead(self._features.give_back(key)))
        return self.encoded(key, blob, None)

    def unread(self, key: str) -> list[StoreEffect]:
        """It is not on disk any more, or damaged: it has to be encoded, where somebody waits for
        it."""
        entry = self._books.entries[key]
        if entry.holders or key in self._features:
            self._await(entry)
        else:
            self._books.drop(entry)
        if entry.state is EntryState.WANTED and not self._source:
            self._books.lose(entry)
        return self._effects()

    def _await(self, entry: EmbeddingEntry) -> None:
        """What is on disk is read, whatever features are here: that takes less than to encode
        them."""
        if self.kept(entry.key):
            entry.state = EntryState.READING
            self._books.tell(ReadKept(entry.key, entry.rows))
        else:
            super()._await(entry)
