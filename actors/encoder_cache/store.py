"""The records of the embedding store: who needs what, what space is taken, what to evict when space
is short. Pure.

A holder's items get their space in one piece, in order of arrival: whoever waits for space is
served before all that came later, so that a request with many pictures is not starved by small
ones. Pinned entries (with holders) are never evicted. The bytes themselves are the actor's: it does
what the returned effects say.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import cast

from ...protocol.edges.encoder_cache_to_preprocessor import FeaturesRead, FeaturesWanted
from ...protocol.edges.encoder_cache_to_scheduler import EmbeddingReady, EncodeFailed, Lost
from ...protocol.edges.preprocessor_to_encoder_cache import Features
from ...protocol.edges.scheduler_to_encoder_cache import Need
from ...protocol.edges.view import Seen
from ...protocol.errors import Failure
from ...protocol.memory.blobs import BlobRef
from ...protocol.requests.prepared import Timing
from . import view
from .batching import Job
from .entries import (
    Claim,
    EmbeddingEntry,
    EntryState,
    FreeEmbedding,
    StoreEffect,
    without,
)  # fmt: skip
from .features import FeatureBooks
from .space import Space

LOST_SECONDS = 2.0
"""That features may lag behind a `Need`: they are sent first, but over another edge."""

ITEMS = 16384
"""Entries at most, but for those in use: each costs 1 KB here, however few rows it has."""


class Store:
    """Entries by key, claims in order of arrival, unpinned entries in order of their last use."""

    def __init__(
        self, capacity: int, row_bytes: int, features_limit: int, ahead: bool = True
    ) -> None:
        """`ahead`: an encoder that rests begins with features before anybody has asked for them."""
        self._space = Space(capacity, row_bytes)
        self._ahead = ahead
        self._begun: Features | None = None
        """What was begun so and not asked for yet: one item at a time."""
        self._entries: dict[str, EmbeddingEntry] = {}
        self._claims: deque[Claim] = deque()
        self._held_by: dict[str, dict[str, None]] = {}
        """Keys that each holder pins."""
        self._open: dict[str, EmbeddingEntry] = {}
        """Wanted and queued entries, in the order of reservation."""
        self._features = FeatureBooks(features_limit)
        self._source = True
        """False while there is no preprocessor: features that are not here will not come."""
        self._out: list[StoreEffect] = []
        self._asked: list[str] = []
        """Keys of features that are to be made now."""
        self.hits = self.joined = self.evicted = self.lost_count = self.failed_count = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes_used(self) -> int:
        return self._space.used

    @property
    def waiting_for_features(self) -> bool:
        return any(entry.overdue for entry in self._open.values())

    def gauges(self) -> dict[str, int]:
        return {
            "entries": len(self._entries), "waiting_for_space": len(self._claims),
            "pinned": len(self._entries) - len(self._space.spare),
            "features_waiting": len(self._features),
        }  # fmt: skip

    def seen(self) -> Seen:
        """What is in use and then what was used last."""
        held = self._held_by.values()
        return view.seen(self._entries, (self._open, *held, reversed(self._space.spare)))

    # what the scheduler says

    def need(self, message: Need, now: float) -> list[StoreEffect]:
        rows = dict(zip(message.keys, message.rows, strict=True))
        claim = Claim(message.holder, rows, now, frozenset(message.later))
        if sum(map(self._space.nbytes, claim.rows.values())) > self._space.capacity:
            text = "The media of this request need more space than the encoder cache has."
            failure = Failure("too_large", text)
            self.failed_count += len(claim.rows)
            self._out.extend(EncodeFailed(key, (claim.holder,), failure) for key in claim.rows)
        else:
            self._claims.append(claim)
        return self._effects()

    def release(self, holder: str, keys: Collection[str] = ()) -> list[StoreEffect]:
        """Idempotent. `keys`: of these alone; (): of all."""
        self._claims = without(self._claims, holder, keys)
        self._unpin(holder, keys)
        return self._effects()

    def release_all(self) -> list[StoreEffect]:
        """The scheduler is gone, and every holder with it."""
        self._claims.clear()
        for holder in list(self._held_by):
            self._unpin(holder)
        return self._effects()

    # what the preprocessor says

    def features(self, message: Features) -> list[StoreEffect]:
        entry = self._entries.get(message.key)
        if (
            entry is not None
            and entry.state in (EntryState.ENCODING, EntryState.HELD)
            and message.key not in self._features
        ):
            self._out.append(FeaturesRead((message.key,)))
            return self._effects()
        self._features.put(message)
        if entry is not None and entry.state is EntryState.WANTED:
            entry.state = EntryState.QUEUED
        elif entry is None:
            self._begin_ahead(message)
        if self._features.over:
            asked = {key for claim in self._claims for key in claim.rows}
            if read := self._features.shrink(asked | self._entries.keys()):
                self._out.append(FeaturesRead(read))
        return self._effects()

    def gone(self, keys: Iterable[str]) -> list[StoreEffect]:
        """Nobody could make these any more."""
        for key in keys:
            if (entry := self._entries.get(key)) and entry.state is EntryState.WANTED:
                self._lose(entry)
        return self._effects()

    def _begin_ahead(self, features: Features) -> None:
        """Who sends features has a request that will ask for them in a moment: nearly always, since
        only a prefix hit saves the asking. Meanwhile the encoder would rest."""
        if not self._ahead or self._begun is not None or self._open or self._claims:
            return
        if self._make_room({features.key: features.rows}):
            self._begun = features
            self._enter(features.key, features.rows, 0.0)

    def over(self, requests: Collection[str]) -> list[StoreEffect]:
        """These requests have ended: what was made for them is given back unread."""
        if self._begun is not None and self._begun.request in requests:
            key, self._begun = self._begun.key, None
            if self._entries[key].failure is not None:
                self._drop(self._entries[key])
        return self.unlease(lambda features: features.request in requests)

    def source(self, alive: bool) -> list[StoreEffect]:
        """The preprocessor came or went. Its leases end with it: features not yet read are void."""
        self._source = alive
        if not alive:
            self._features.clear()
            for entry in list(self._open.values()):
                self._lose(entry)
        return self._effects()

    def unlease(self, which: Callable[[Features], bool]) -> list[StoreEffect]:
        """Give these back unread, because their request is over or their bytes are gone. Who waits
        for them loses them."""
        empty, read = self._features.drop(which)
        if read:
            self._out.append(FeaturesRead(read))
        for entry in map(self._entries.get, empty):
            if entry is None or entry.state is not EntryState.QUEUED:
                continue
            if entry.later and self._source:
                entry.state = EntryState.WANTED
                self._asked.append(entry.key)
            else:
                self._lose(entry)
        return self._effects()

    def reset(self) -> list[StoreEffect]:
        """Keep nothing for reuse: what nobody holds goes now, the rest with its last holder."""
        for entry in list(self._entries.values()):
            entry.retired = True
            if entry.key in self._space.spare:
                self._drop(entry)
        return self._effects()

    def expire(self, now: float) -> list[StoreEffect]:
        """Give up on features that have not come."""
        for entry in list(self._open.values()):
            if entry.overdue and now - entry.since >= LOST_SECONDS:
                self._lose(entry)
        return self._effects()

    # what the encoder does

    def queue(self) -> list[Job]:
        """What can be encoded now, in the order of reservation."""
        return [
            Job(entry.key, entry.rows, self._features.get(entry.key))
            for entry in self._open.values()
            if entry.state is EntryState.QUEUED
        ]

    def begin(self, key: str) -> None:
        entry = self._open.pop(key)
        features = self._features.get(key)
        entry.state, entry.modality = EntryState.ENCODING, features.modality
        entry.item = None if features.kept is None else features.kept.item

    def copied(self, job: Job) -> tuple[bool, list[StoreEffect]]:
        """Its features are. False: they were void meanwhile, and the copy may be anything."""
        intact = self._features.holds(job.features)
        return intact, [] if intact else self.again(job.key)

    def read(self, key: str) -> list[StoreEffect]:
        """Its features are not needed any more."""
        if key in self._features:
            self._out.append(FeaturesRead(self._features.give_back(key)))
        return self._effects()

    def encoded(self, key: str, blob: BlobRef, timing: Timing | None) -> list[StoreEffect]:
        entry = self._entries[key]
        entry.state, entry.blob = EntryState.HELD, blob
        if entry.waiting:
            self._out.append(EmbeddingReady(key, tuple(entry.waiting), blob, timing))
            entry.waiting.clear()
        else:
            entry.timing = timing
        self._settle(entry)
        return self._effects()

    def failed(self, key: str, failure: Failure) -> list[StoreEffect]:
        """It cannot be encoded, for anybody who waits for it."""
        entry = self._entries[key]
        if entry.waiting:
            self.failed_count += 1
            self._out.append(EncodeFailed(key, tuple(entry.waiting), failure))
        elif self._begun is not None and self._begun.key == key:
            entry.failure = failure  # for who is about to ask
            return self._effects()
        self._drop(entry)
        return self._effects()

    def again(self, key: str) -> list[StoreEffect]:
        """What was made of it is nothing: it is the next, of the same features or of others that
        have come, if anybody wants it still."""
        entry = self._entries[key]
        wanted = entry.holders or (self._begun is not None and self._begun.key == key)
        if wanted and key in self._features:
            entry.state = EntryState.QUEUED
            self._open = {key: entry, **self._open}
        elif wanted and entry.later and self._source:
            entry.state = EntryState.WANTED
            self._open[key] = entry
            self._asked.append(key)
        else:
            self._lose(entry)
        return self._effects()

    def lost(self, key: str) -> list[StoreEffect]:
        """Its features could not be read."""
        self._lose(self._entries[key])
        return self._effects()

    def evict_one(self) -> FreeEmbedding | None:
        """Make room beyond the books (fragments); None where everything is pinned."""
        for key in self._space.spare:
            self._evict(key)
            return cast(FreeEmbedding, self._out.pop())
        return None

    # the books

    def _effects(self) -> list[StoreEffect]:
        """After whatever has happened: serve claims from the front while their space can be had,
        and tell what is to be done."""
        while self._claims and self._make_room(self._claims[0].rows):
            claim = self._claims.popleft()
            for key, rows in claim.rows.items():
                entry = self._entries.get(key)
                if entry is None:
                    entry = self._enter(key, rows, claim.since)
                elif entry.failure is not None:
                    self.failed_count += 1
                    self._out.append(EncodeFailed(key, (claim.holder,), entry.failure))
                    self._drop(entry)
                    continue
                elif entry.state is EntryState.HELD:
                    self.hits += entry.timing is None
                    entry.hits += entry.timing is None
                elif entry.holders and claim.holder not in entry.holders:
                    self.joined += 1
                    entry.hits += 1
                self._pin(entry, claim.holder)
                if entry.state is EntryState.WANTED and not self._source:
                    self._lose(entry)
                elif key in claim.later and not entry.later:
                    entry.later = True
                    self._asked += [key] if entry.state is EntryState.WANTED else []
        if self._asked:
            self._out.append(FeaturesWanted(tuple(self._asked)))
            self._asked.clear()
        out, self._out = self._out, []
        return out

    def _enter(self, key: str, rows: int, since: float) -> EmbeddingEntry:
        """A new entry, for which there is room."""
        entry = self._add(key, rows, since)
        self._await(entry)
        return entry

    def _add(self, key: str, rows: int, since: float) -> EmbeddingEntry:
        nbytes = self._space.nbytes(rows)
        entry = self._entries[key] = EmbeddingEntry(key, rows, nbytes, since)
        self._space.used += nbytes
        return entry

    def _await(self, entry: EmbeddingEntry) -> None:
        """It has to be encoded."""
        here = entry.key in self._features
        entry.state = EntryState.QUEUED if here else EntryState.WANTED
        self._open[entry.key] = entry
        self._asked += [entry.key] if entry.later and not here else []

    def _make_room(self, wanted: Mapping[str, int]) -> bool:
        """Evict what `wanted`, rows by key, needs; False, and nothing done: that is not enough."""
        victims = self._space.victims(wanted, self._entries)
        for key in victims or ():
            self._evict(key)
        return victims is not None

    def _pin(self, entry: EmbeddingEntry, holder: str) -> None:
        entry.holders[holder] = None
        self._asked_for(entry.key)
        self._held_by.setdefault(holder, {})[entry.key] = None
        self._space.drop_spare(entry.key)
        if entry.blob is not None:
            timing, entry.timing = entry.timing, None
            self._out.append(EmbeddingReady(entry.key, (holder,), entry.blob, timing))
        else:
            entry.waiting[holder] = None

    def _unpin(self, holder: str, keys: Collection[str] = ()) -> None:
        held = self._held_by.get(holder, {})
        going = [key for key in held if not keys or key in keys]
        if len(going) == len(held):
            self._held_by.pop(holder, None)
        for key in going:
            del held[key]
            entry = self._entries[key]
            del entry.holders[holder]
            entry.waiting.pop(holder, None)
            self._settle(entry)

    def _settle(self, entry: EmbeddingEntry) -> None:
        """After a holder went: keep what is held, give up what nobody wants any more."""
        if entry.holders:
            return
        if entry.state is EntryState.HELD and not entry.retired:
            self._space.add_spare(entry.key, entry.nbytes)
            if len(self._entries) > ITEMS:
                self._evict(next(iter(self._space.spare)))
        elif entry.state not in (EntryState.ENCODING, EntryState.READING):
            self._drop(entry)

    def _evict(self, key: str) -> None:
        self.evicted += 1
        self._drop(self._entries[key])

    def _lose(self, entry: EmbeddingEntry) -> None:
        if entry.waiting:
            self.lost_count += 1
            self._out.append(Lost(entry.key, tuple(entry.waiting)))
        self._drop(entry)

    def _drop(self, entry: EmbeddingEntry) -> None:
        for holder in entry.holders:
            self._held_by[holder].pop(entry.key, None)
        self._space.drop_spare(entry.key)
        self._asked_for(entry.key)
        self._open.pop(entry.key, None)
        del self._entries[entry.key]
        self._space.used -= entry.nbytes
        if entry.blob is not None:
            self._out.append(FreeEmbedding(entry.blob))

    def _asked_for(self, key: str) -> None:
        """Or gone: another item may be begun ahead."""
        if self._begun is not None and self._begun.key == key:
            self._begun = None
