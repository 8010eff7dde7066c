"""The processor cache's books: which features are held in which worker's arena, who still reads
them, what may go.

No bytes here: the features lie in the workers' arenas until the shell sends `FreeFeatures` for what
`evict` returns.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from itertools import islice

from ...protocol.edges.decode_worker_to_preprocessor import Decoded
from ...protocol.edges.preprocessor_to_encoder_cache import Kept
from ...protocol.memory.shortage import NO_SPACE
from ..jobs.identity import part_keys

NO_ROOM = NO_SPACE.code
"""`Failure.code` of a worker whose shared memory is full: what is kept for reuse there makes
room."""
ITEMS = 16384
"""Entries at most: each costs 1.4 KB here, however small its features are."""


@dataclass(eq=False)
class FeatureEntry:
    """Features of one item."""

    decoded: Decoded
    worker: str
    ready: bool = False
    """True: they are the embedding itself."""
    name: str = ""
    """On disk; empty: it is not kept there."""
    recalled: bool = False
    """There are none: the encoder-cache has the embedding. Such an entry is of the requests that
    asked, and in no store."""
    hits: int = 0
    """Requests that found it here."""
    pins: int = 0
    """Requests that will need it and have not been submitted."""
    leases: Counter[str] = field(default_factory=Counter)
    """`Features` sent and not yet answered by `FeaturesRead`, by the key of the part."""

    @property
    def key(self) -> str:
        return self.decoded.key

    @property
    def kept(self) -> list[Kept | None]:
        """As what each part is kept on disk."""
        parts = self.decoded.parts
        if not self.name or self.ready:
            return [None] * len(parts)
        names = part_keys(self.name, len(parts))
        return [Kept(name, None if at else self.decoded) for at, name in enumerate(names)]

    @property
    def idle(self) -> bool:
        """Nobody needs it now."""
        return not self.pins and not self.leased

    @property
    def leased(self) -> int:
        return self.leases.total()

    @property
    def nbytes(self) -> int:
        tensors = sum(ref.nbytes for part in self.decoded.parts for ref in part.tensors.values())
        return tensors + len(self.decoded.planes or b"") + len(self.decoded.anchors or b"")


class FeatureStore:
    """Least recently used goes first; what is pinned or leased stays, whatever the limit says."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, FeatureEntry] = OrderedDict()
        self._items: dict[str, str] = {}
        """Of each part that is held the key of its item."""
        self._owed: Counter[str] = Counter()
        """Leases on parts that died with their worker: their returns will still come, and are not
        their successors'."""
        self._retired: set[str] = set()
        """Keys of what was in use at a reset, or is not to be kept: it goes as soon as nobody needs
        it."""
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def pins(self) -> int:
        return sum(entry.pins for entry in self._entries.values())

    @property
    def leases(self) -> int:
        return sum(entry.leased for entry in self._entries.values())

    def get(self, key: str) -> FeatureEntry | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def last_used(self, most: int) -> list[FeatureEntry]:
        """The last first."""
        return list(islice(reversed(self._entries.values()), most))

    def add(self, entry: FeatureEntry) -> None:
        assert entry.key not in self._entries
        for part in entry.decoded.parts:
            self._items[part.key] = entry.key
            if owed := self._owed.pop(part.key, 0):
                entry.leases[part.key] += owed
        self._entries[entry.key] = entry
        self.bytes += entry.nbytes

    def returned(self, key: str) -> None:
        """One lease on the part `key` has ended."""
        entry = self._entries.get(self._items.get(key, ""))
        leases = self._owed if entry is None else entry.leases
        if leases[key] > 0:
            leases[key] -= 1
        if not leases[key]:
            del leases[key]

    def reader_gone(self) -> None:
        """Who held all leases is dead."""
        self._owed.clear()
        for entry in self._entries.values():
            entry.leases.clear()

    def worker_gone(self, worker: str) -> list[FeatureEntry]:
        """Entries whose bytes died with their worker."""
        lost = [entry for entry in self._entries.values() if entry.worker == worker]
        for entry in lost:
            self._remove(entry)
            self._owed.update(entry.leases)
        return lost

    def pass_on(self, key: str) -> None:
        """Do not keep it beyond its readers."""
        if key in self._entries:
            self._retired.add(key)

    def reset(self) -> list[FeatureEntry]:
        """Keep nothing of what is here for reuse; returns what goes at once. Keys of later requests
        are to differ."""
        self._retired.update(self._entries)
        return self.evict()

    def evict(self, worker: str | None = None) -> list[FeatureEntry]:
        """What must go to be within the limits; with `worker` all that may go of that worker's."""
        gone = [entry for key in self._retired if (entry := self._entries[key]).idle]
        for entry in gone:
            self._remove(entry)
        if worker is None and not self._over:
            return gone
        for entry in list(self._entries.values()):
            if worker is None and not self._over:
                break
            if entry.idle and worker in (None, entry.worker):
                self._remove(entry)
                gone.append(entry)
        return gone

    @property
    def _over(self) -> bool:
        return self.bytes > self._limit or len(self._entries) > ITEMS

    def _remove(self, entry: FeatureEntry) -> None:
        del self._entries[entry.key]
        for part in entry.decoded.parts:
            del self._items[part.key]
        self._retired.discard(entry.key)
        self.bytes -= entry.nbytes
