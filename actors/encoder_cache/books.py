"""The entries of the embedding store: who holds each, what space they take, and which of them go
when space is short. Pure."""

from collections.abc import Collection, Iterable, Mapping, ValuesView

from ...protocol.edges.encoder_cache_to_scheduler import EmbeddingReady, Lost
from ...protocol.edges.preprocessor_to_encoder_cache import Features
from .entries import EmbeddingEntry, EntryState, FreeEmbedding, StoreEffect
from .space import Space

ITEMS = 16384
"""Entries at most, but for those in use: each costs 1 KB here, however few rows it has."""


class EntryBooks:
    """The store's own, which says what happens; these keep in step what belongs together: an entry,
    its place in the queue, its holders, its space and the block that it had."""

    def __init__(self, capacity: int, row_bytes: int) -> None:
        """Both in bytes."""
        self._space = Space(capacity, row_bytes)
        self.entries: dict[str, EmbeddingEntry] = {}
        """By key."""
        self._open: dict[str, EmbeddingEntry] = {}
        """Wanted and queued entries, in the order of reservation."""
        self.begun: Features | None = None
        """Of what was begun before anybody asked, and not asked for yet: one item at a time."""
        self._out: list[StoreEffect] = []
        self._held_by: dict[str, dict[str, None]] = {}
        """Keys that each holder pins."""
        self.evicted = self.lost = 0

    @property
    def bytes_used(self) -> int:
        return self._space.used

    @property
    def pinned(self) -> int:
        """Entries that are in use."""
        return len(self.entries) - len(self._space.spare)

    @property
    def holders(self) -> list[str]:
        return list(self._held_by)

    @property
    def open(self) -> ValuesView[EmbeddingEntry]:
        """Wanted and queued ones, in their order."""
        return self._open.values()

    def tell(self, *effects: StoreEffect) -> None:
        """These are to be done, or told."""
        self._out += effects

    def take(self) -> list[StoreEffect]:
        """What is to be done and told, once."""
        out, self._out = self._out, []
        return out

    def last_used(self) -> tuple[Iterable[str], ...]:
        """Keys: what is in use, and then what was used last."""
        return (self._open, *self._held_by.values(), reversed(self._space.spare))

    def fits(self, rows: Mapping[str, int]) -> bool:
        """Whether there could be room for these, by key, if nobody else held anything."""
        return sum(map(self._space.nbytes, rows.values())) <= self._space.capacity

    def make_room(self, wanted: Mapping[str, int]) -> bool:
        """Evict what `wanted`, rows by key, needs; False, and nothing done: that is not enough."""
        victims = self._space.victims(wanted, self.entries)
        for key in victims or ():
            self._evict(key)
        return victims is not None

    def evict_one(self) -> FreeEmbedding | None:
        """The longest unused, whose block is the caller's to free; None where all are pinned."""
        key = next(iter(self._space.spare), None)
        if key is None:
            return None
        blob, self.entries[key].blob = self.entries[key].blob, None
        self._evict(key)
        assert blob is not None, "what nobody holds has been encoded"
        return FreeEmbedding(blob)

    def is_begun(self, key: str) -> bool:
        """Ahead, and nobody has asked for it."""
        return self.begun is not None and self.begun.key == key

    def drop_spare(self) -> None:
        """All that nobody holds."""
        for key in list(self._space.spare):
            self.drop(self.entries[key])

    def add(self, key: str, rows: int, since: float) -> EmbeddingEntry:
        """There is room for it."""
        nbytes = self._space.nbytes(rows)
        entry = self.entries[key] = EmbeddingEntry(key, rows, nbytes, since)
        self._space.used += nbytes
        return entry

    def enqueue(self, entry: EmbeddingEntry, first: bool = False) -> None:
        """It is wanted or queued: behind all others, or before them."""
        if first:
            self._open = {entry.key: entry, **self._open}
        else:
            self._open[entry.key] = entry

    def dequeue(self, key: str) -> None:
        """It is neither any more. Idempotent."""
        self._open.pop(key, None)

    def pin(self, entry: EmbeddingEntry, holder: str) -> None:
        entry.holders[holder] = None
        self._asked_for(entry.key)
        self._held_by.setdefault(holder, {})[entry.key] = None
        self._space.drop_spare(entry.key)
        if entry.blob is not None:
            timing, entry.timing = entry.timing, None
            self.tell(EmbeddingReady(entry.key, (holder,), entry.blob, timing))
        else:
            entry.waiting[holder] = None

    def unpin(self, holder: str, keys: Collection[str] = ()) -> None:
        """`keys`: of these alone; (): of all."""
        held = self._held_by.get(holder, {})
        going = [key for key in held if not keys or key in keys]
        if len(going) == len(held):
            self._held_by.pop(holder, None)
        for key in going:
            del held[key]
            entry = self.entries[key]
            del entry.holders[holder]
            entry.waiting.pop(holder, None)
            self.settle(entry)

    def settle(self, entry: EmbeddingEntry) -> None:
        """After a holder went: keep what is held, give up what nobody wants any more."""
        if entry.holders:
            return
        if entry.state is EntryState.HELD and not entry.retired:
            self._space.add_spare(entry.key, entry.nbytes)
            if len(self.entries) > ITEMS:
                self._evict(next(iter(self._space.spare)))
        elif entry.state not in (EntryState.ENCODING, EntryState.READING):
            self.drop(entry)

    def lose(self, entry: EmbeddingEntry) -> None:
        """Nothing will come of it, as whoever waits for it is told."""
        if entry.waiting:
            self.lost += 1
            self.tell(Lost(entry.key, tuple(entry.waiting)))
        self.drop(entry)

    def drop(self, entry: EmbeddingEntry) -> None:
        for holder in entry.holders:
            self._held_by[holder].pop(entry.key, None)
        self._space.drop_spare(entry.key)
        self._asked_for(entry.key)
        self._open.pop(entry.key, None)
        del self.entries[entry.key]
        self._space.used -= entry.nbytes
        if entry.blob is not None:
            self.tell(FreeEmbedding(entry.blob))

    def _evict(self, key: str) -> None:
        self.evicted += 1
        self.drop(self.entries[key])

    def _asked_for(self, key: str) -> None:
        """Or gone: another item may be begun ahead."""
        if self.is_begun(key):
            self.begun = None
