"""Embeddings asked for, held and given back: the scheduler's side of the encoder-cache's books."""

from collections.abc import Iterable

import msgspec

from ...protocol.edges.encoder_cache_to_scheduler import EmbeddingReady
from ...protocol.edges.scheduler_to_encoder_cache import Need, Release
from .outbox import Outbox
from .sequence import ScheduledRequest, Sequence


class Embeddings:
    """A `Need` names all items of a sequence that no prefix hit covers, a `Release` ends it."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._holders: dict[str, Sequence] = {}
        self._count = 0
        self.closed = False
        """Nobody may ask: one item is about to be tried alone."""
        self.trial: tuple[str, str] | None = None
        """(holder, key) of the item that is being tried alone."""

    def ask(self, seq: Sequence, start: int, now: float) -> bool:
        """Have all items from `start` on asked for, in one piece; False where that must wait."""
        needs = seq.needs_after(start)
        if seq.asked is not None and needs.keys() <= seq.asked:
            return True
        if self.closed and needs:
            return False
        self.release(seq)
        seq.asked = frozenset(needs)
        if not needs:
            return True
        self._count += 1
        request = seq.request
        seq.holder = f"{request.id}.{request.prepared.attempt}.{seq.choice}.{self._count}"
        self._holders[seq.holder] = seq
        self._outbox.encoder.append(Need(seq.holder, tuple(needs), tuple(needs.values())))
        if request.asked is None:
            request.asked = now
        return True

    def try_alone(self, key: str, rows: int) -> None:
        """Ask for one item on behalf of no request, to see whether the encoder survives it."""
        self._count += 1
        self.trial = f"trial.{self._count}", key
        self._outbox.encoder.append(Need(self.trial[0], (key,), (rows,)))

    def end_trial(self, holders: Iterable[str]) -> str | None:
        """The item on trial, if this answer is for it; its place at the encoder-cache goes back."""
        if self.trial is None or self.trial[0] not in holders:
            return None
        (holder, key), self.trial = self.trial, None
        self._outbox.encoder.append(Release(holder))
        return key

    def awaited(self) -> set[str]:
        """What the encoder may be working on now: asked for and not there."""
        keys = {
            key
            for seq in self._holders.values()
            for key in (seq.asked or ())
            if key not in seq.ready
        }
        return keys | {self.trial[1]} if self.trial is not None else keys

    @property
    def encoding(self) -> bool:
        """Whether the encoder has work."""
        return any(
            seq.asked and not seq.asked <= seq.ready.keys() for seq in self._holders.values()
        )

    def ready(self, message: EmbeddingReady, now: float) -> None:
        for seq in self._of(message.holders):
            seq.ready[message.key] = message.blob
            seq.stalled = False
            request = seq.request
            if message.timing is not None:
                own = msgspec.structs.replace(message.timing, item=message.key)
                request.timings.append(own)
            if request.held is None and seq.asked is not None and seq.asked <= seq.ready.keys():
                request.held = now

    def requests_of(self, holders: Iterable[str]) -> list[ScheduledRequest]:
        return list(dict.fromkeys(seq.request for seq in self._of(holders)))

    def release(self, seq: Sequence) -> None:
        """No step in flight may read them."""
        if seq.holder is not None:
            del self._holders[seq.holder]
            self._outbox.encoder.append(Release(seq.holder))
        self._forget(seq)

    def void(self) -> None:
        """The encoder-cache has died: nothing is held, nothing is asked."""
        for seq in self._holders.values():
            self._forget(seq)
        self._holders.clear()
        self.trial = None

    @property
    def holders(self) -> int:
        return len(self._holders) + (self.trial is not None)

    def _of(self, holders: Iterable[str]) -> list[Sequence]:
        return [self._holders[holder] for holder in holders if holder in self._holders]

    @staticmethod
    def _forget(seq: Sequence) -> None:
        seq.holder = seq.asked = None
        seq.ready = {}
        seq.stalled = False
