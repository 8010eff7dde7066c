"""The embedding store: what becomes of its entries when others say something. Pure.

A holder's items get their space in one piece, in order of arrival: whoever waits for space is
served before all that came later, so that a request with many pictures is not starved by small
ones. Pinned entries (with holders) are never evicted. The bytes themselves are the actor's: it does
what the returned effects say.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable

from ...protocol.edges.encoder_cache_to_preprocessor import FeaturesRead, FeaturesWanted
from ...protocol.edges.encoder_cache_to_scheduler import EmbeddingReady, EncodeFailed
from ...protocol.edges.preprocessor_to_encoder_cache import Features
from ...protocol.edges.scheduler_to_encoder_cache import Need
from ...protocol.edges.view import Seen
from ...protocol.errors import Failure
from ...protocol.memory.blobs import BlobRef
from ...protocol.requests.prepared import Timing
from . import view
from .batching import Job
from .books import EntryBooks
from .entries import (
    Claim,
    EmbeddingEntry,
    EntryState,
    FreeEmbedding,
    StoreEffect,
    without,
)  # fmt: skip
from .features import FeatureBooks

LOST_SECONDS = 2.0
"""That features may lag behind a `Need`: they are sent first, but over another edge."""


class Store:
    """Claims in order of arrival, and the events of the entries that `EntryBooks` keeps."""

    def __init__(
        self, capacity: int, row_bytes: int, features_limit: int, ahead: bool = True
    ) -> None:
        """`ahead`: an encoder that rests begins with features before anybody has asked for them."""
        self._books = EntryBooks(capacity, row_bytes)
        self._ahead = ahead
        self._claims: deque[Claim] = deque()
        self._features = FeatureBooks(features_limit)
        self._source = True
        """False while there is no preprocessor: features that are not here will not come."""
        self._asked: list[str] = []
        """Keys of features that are to be made now."""
        self.hits = self.joined = self.failed_count = 0

    def __len__(self) -> int:
        return len(self._books.entries)

    @property
    def bytes_used(self) -> int:
        return self._books.bytes_used

    @property
    def evicted(self) -> int:
        return self._books.evicted

    @property
    def lost_count(self) -> int:
        return self._books.lost

    @property
    def waiting_for_features(self) -> bool:
        return any(entry.overdue for entry in self._books.open)

    def gauges(self) -> dict[str, int]:
        return {
            "entries": len(self), "waiting_for_space": len(self._claims),
            "pinned": self._books.pinned, "features_waiting": len(self._features),
        }  # fmt: skip

    def seen(self) -> Seen:
        """What is in use and then what was used last."""
        return view.seen(self._books.entries, self._books.last_used())

    # what the scheduler says

    def need(self, message: Need, now: float) -> list[StoreEffect]:
        rows = dict(zip(message.keys, message.rows, strict=True))
        claim = Claim(message.holder, rows, now, frozenset(message.later))
        if not self._books.fits(claim.rows):
            text = "The media of this request need more space than the encoder cache has."
            failure = Failure("too_large", text)
            self.failed_count += len(claim.rows)
            self._books.tell(*(EncodeFailed(key, (claim.holder,), failure) for key in claim.rows))
        else:
            self._claims.append(claim)
        return self._effects()

    def release(self, holder: str, keys: Collection[str] = ()) -> list[StoreEffect]:
        """Idempotent. `keys`: of these alone; (): of all."""
        self._claims = without(self._claims, holder, keys)
        self._books.unpin(holder, keys)
        return self._effects()

    def release_all(self) -> list[StoreEffect]:
        """The scheduler is gone, and every holder with it."""
        self._claims.clear()
        for holder in self._books.holders:
            self._books.unpin(holder)
        return self._effects()

    # what the preprocessor says

    def features(self, message: Features) -> list[StoreEffect]:
        entry = self._books.entries.get(message.key)
        if (
            entry is not None
            and entry.state in (EntryState.ENCODING, EntryState.HELD)
            and message.key not in self._features
        ):
            self._books.tell(FeaturesRead((message.key,)))
            return self._effects()
        self._features.put(message)
        if entry is not None and entry.state is EntryState.WANTED:
            entry.state = EntryState.QUEUED
        elif entry is None:
            self._begin_ahead(message)
        if self._features.over:
            asked = {key for claim in self._claims for key in claim.rows}
            if read := self._features.shrink(asked | self._books.entries.keys()):
                self._books.tell(FeaturesRead(read))
        return self._effects()

    def gone(self, keys: Iterable[str]) -> list[StoreEffect]:
        """Nobody could make these any more."""
        for key in keys:
            if (entry := self._books.entries.get(key)) and entry.state is EntryState.WANTED:
                self._books.lose(entry)
        return self._effects()

    def _begin_ahead(self, features: Features) -> None:
        """Who sends features has a request that will ask for them in a moment: nearly always, since
        only a prefix hit saves the asking. Meanwhile the encoder would rest."""
        if not self._ahead or self._books.begun is not None or self._books.open or self._claims:
            return
        if self._books.make_room({features.key: features.rows}):
            self._books.begun = features
            self._enter(features.key, features.rows, 0.0)

    def over(self, requests: Collection[str]) -> list[StoreEffect]:
        """These requests have ended: what was made for them is given back unread."""
        begun = self._books.begun
        if begun is not None and begun.request in requests:
            self._books.begun = None
            if (entry := self._books.entries[begun.key]).failure is not None:
                self._books.drop(entry)
        return self.unlease(lambda features: features.request in requests)

    def source(self, alive: bool) -> list[StoreEffect]:
        """The preprocessor came or went. Its leases end with it: features not yet read are void."""
        self._source = alive
        if not alive:
            self._features.clear()
            for entry in list(self._books.open):
                self._books.lose(entry)
        return self._effects()

    def unlease(self, which: Callable[[Features], bool]) -> list[StoreEffect]:
        """Give these back unread, because their request is over or their bytes are gone. Who waits
        for them loses them."""
        empty, read = self._features.drop(which)
        if read:
            self._books.tell(FeaturesRead(read))
        for entry in map(self._books.entries.get, empty):
            if entry is None or entry.state is not EntryState.QUEUED:
                continue
            if entry.later and self._source:
                entry.state = EntryState.WANTED
                self._asked.append(entry.key)
            else:
                self._books.lose(entry)
        return self._effects()

    def reset(self) -> list[StoreEffect]:
        """Keep nothing for reuse: what nobody holds goes now, the rest with its last holder."""
        for entry in self._books.entries.values():
            entry.retired = True
        self._books.drop_spare()
        return self._effects()

    def expire(self, now: float) -> list[StoreEffect]:
        """Give up on features that have not come."""
        for entry in list(self._books.open):
            if entry.overdue and now - entry.since >= LOST_SECONDS:
                self._books.lose(entry)
        return self._effects()

    # what the encoder does

    def queue(self) -> list[Job]:
        """What can be encoded now, in the order of reservation."""
        return [
            Job(entry.key, entry.rows, self._features.get(entry.key))
            for entry in self._books.open
            if entry.state is EntryState.QUEUED
        ]

    def begin(self, key: str) -> None:
        entry = self._books.entries[key]
        self._books.dequeue(key)
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
            self._books.tell(FeaturesRead(self._features.give_back(key)))
        return self._effects()

    def encoded(self, key: str, blob: BlobRef, timing: Timing | None) -> list[StoreEffect]:
        entry = self._books.entries[key]
        entry.state, entry.blob = EntryState.HELD, blob
        if entry.waiting:
            self._books.tell(EmbeddingReady(key, tuple(entry.waiting), blob, timing))
            entry.waiting.clear()
        else:
            entry.timing = timing
        self._books.settle(entry)
        return self._effects()

    def failed(self, key: str, failure: Failure) -> list[StoreEffect]:
        """It cannot be encoded, for anybody who waits for it."""
        entry = self._books.entries[key]
        if entry.waiting:
            self.failed_count += 1
            self._books.tell(EncodeFailed(key, tuple(entry.waiting), failure))
        elif self._books.is_begun(key):
            entry.failure = failure  # for who is about to ask
            return self._effects()
        self._books.drop(entry)
        return self._effects()

    def again(self, key: str) -> list[StoreEffect]:
        """What was made of it is nothing: it is the next, of the same features or of others that
        have come, if anybody wants it still."""
        entry = self._books.entries[key]
        wanted = entry.holders or self._books.is_begun(key)
        if wanted and key in self._features:
            entry.state = EntryState.QUEUED
            self._books.enqueue(entry, first=True)
        elif wanted and entry.later and self._source:
            entry.state = EntryState.WANTED
            self._books.enqueue(entry)
            self._asked.append(key)
        else:
            self._books.lose(entry)
        return self._effects()

    def lost(self, key: str) -> list[StoreEffect]:
        """Its features could not be read."""
        self._books.lose(self._books.entries[key])
        return self._effects()

    def evict_one(self) -> FreeEmbedding | None:
        """Make room beyond the books (fragments); None where everything is pinned."""
        return self._books.evict_one()

    # what follows

    def _effects(self) -> list[StoreEffect]:
        """After whatever has happened: serve claims from the front while their space can be had,
        and tell what is to be done."""
        while self._claims and self._books.make_room(self._claims[0].rows):
            claim = self._claims.popleft()
            for key, rows in claim.rows.items():
                entry = self._books.entries.get(key)
                if entry is None:
                    entry = self._enter(key, rows, claim.since)
                elif entry.failure is not None:
                    self.failed_count += 1
                    self._books.tell(EncodeFailed(key, (claim.holder,), entry.failure))
                    self._books.drop(entry)
                    continue
                elif entry.state is EntryState.HELD:
                    self.hits += entry.timing is None
                    entry.hits += entry.timing is None
                elif entry.holders and claim.holder not in entry.holders:
                    self.joined += 1
                    entry.hits += 1
                self._books.pin(entry, claim.holder)
                if entry.state is EntryState.WANTED and not self._source:
                    self._books.lose(entry)
                elif key in claim.later and not entry.later:
                    entry.later = True
                    self._asked += [key] if entry.state is EntryState.WANTED else []
        if self._asked:
            self._books.tell(FeaturesWanted(tuple(self._asked)))
            self._asked.clear()
        return self._books.take()

    def _enter(self, key: str, rows: int, since: float) -> EmbeddingEntry:
        """A new entry, for which there is room."""
        entry = self._books.add(key, rows, since)
        self._await(entry)
        return entry

    def _await(self, entry: EmbeddingEntry) -> None:
        """It has to be encoded."""
        here = entry.key in self._features
        entry.state = EntryState.QUEUED if here else EntryState.WANTED
        self._books.enqueue(entry)
        self._asked += [entry.key] if entry.later and not here else []
