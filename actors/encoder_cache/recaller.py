"""Between the books and the disk: what the preprocessor asks for, and what the books miss, is read
by threads into the arena.

One item at a time and thread: a disk that hangs holds these and nothing else.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Protocol, TypeVar

from ...protocol.edges.decode_worker_to_preprocessor import Decoded
from ...protocol.edges.encoder_cache_to_preprocessor import Recalled, RecalledId
from ...protocol.edges.preprocessor_to_encoder_cache import Recall, RecallId
from ...protocol.errors import Failure
from .disk.tier import Stored, Tier
from .embeddings import EmbeddingArena
from .entries import ReadKept, StoreEffect
from .kept_store import KeptStore

T = TypeVar("T")


class Hands(Protocol):
    """What it asks of the process around it."""

    def apply(self, effects: Iterable[StoreEffect]) -> None:
        """What the books say."""

    def answer(self, message: Recalled | RecalledId) -> None: ...

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Beside everything else, to its end or the process's."""

    def wait(self, work: Callable[[], T]) -> Awaitable[T]:
        """In one of a few threads that wait for the disk."""


class Recaller:
    """Belongs to the loop."""

    def __init__(self, tier: Tier, store: KeptStore, room: EmbeddingArena, hands: Hands) -> None:
        self.tier, self._store, self._room, self._hands = tier, store, room, hands

    def recall(self, message: Recall) -> None:
        """Answered at once where the item is in memory, and later otherwise."""
        item = self._store.item(message.key)
        if item is None:
            self._hands.begin(self._find(message))
        else:
            self._hands.answer(Recalled(message.key, item))

    def recall_id(self, message: RecallId) -> None:
        self._hands.begin(self._find_id(message.name))

    async def _find_id(self, name: str) -> None:
        digest = await self._hands.wait(partial(self.tier.find_id, name))
        self._hands.answer(RecalledId(name, digest))

    def read(self, wanted: ReadKept) -> None:
        self._hands.begin(self._read_kept(wanted))

    async def _find(self, message: Recall) -> None:
        found = await self._hands.wait(partial(self.tier.find_item, message.key, message.name))
        if found is None:
            self.tier.misses += 1
            self._hands.answer(Recalled(message.key, None))
            return
        item, stored = found
        whole = True
        for place, (part, one) in enumerate(zip(item.parts, stored, strict=True)):
            room, effects = self._store.reserve(part.key, part.rows)
            self._hands.apply(effects)
            self.tier.learn(part.key, one.name)
            if room:
                whole &= await self._fill(part.key, one, None if place else item)
            else:  # it is here, or is read when its room is
                one.close()
                whole &= not self._store.waits(part.key)
        self.tier.hits += whole
        self.tier.misses += not whole
        self._hands.answer(Recalled(message.key, item if whole else None))

    async def _read_kept(self, wanted: ReadKept) -> None:
        name = self.tier.name_of(wanted.key)
        stored = None if name is None else await self._hands.wait(partial(self.tier.find, name))
        if stored is not None and stored.rows != wanted.rows:
            stored.close()
            stored = None
        if stored is None:
            self._give_up(wanted.key)
        elif await self._fill(wanted.key, stored, stored.head.item):
            self.tier.hits += 1

    async def _fill(self, key: str, stored: Stored, item: Decoded | None) -> bool:
        """Into its room; False: it could not be read."""
        place = self._room.allocate(stored.head.shape)
        if isinstance(place, Failure):
            stored.close()
            self._give_up(key)
            return False
        blob, view = place
        with view:
            intact = await self._hands.wait(partial(self.tier.read, stored, view))
        if intact:
            self._hands.apply(self._store.recalled(key, blob, item))
        else:
            self._room.free(blob)
            self._give_up(key)
        return intact

    def _give_up(self, key: str) -> None:
        self.tier.forget(key)
        self._hands.apply(self._store.unread(key))
