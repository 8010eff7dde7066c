"""Embeddings asked for, held and given back: the scheduler's side of the encoder-cache's books."""

from collections.abc import Iterable

import msgspec

from ...protocol.edges.encoder_cache_to_scheduler import EmbeddingReady
from ...protocol.edges.scheduler_to_encoder_cache import Need, Release
from ...protocol.requests.prepared import Item
from .outbox import Outbox
from .sequence import ScheduledRequest, Sequence
from .windows import Windows, behind


class Embeddings:
    """A `Need` names all items of a sequence that no prefix hit covers, a `Release` ends it."""

    def __init__(self, outbox: Outbox, windows: Windows) -> None:
        self._outbox, self._windows = outbox, windows
        self._holders: dict[str, Sequence] = {}
        self._count = 0
        self.closed = False
        """Nobody may ask: one item is about to be tried alone."""
        self.trial: tuple[str, str] | None = None
        """(holder, key) of the item that is being tried alone."""

    def ask(self, seq: Sequence, start: int, now: float) -> bool:
        """Have all items from `start` on asked for, in one piece, or those of a window; False
        where that must wait."""
        needs = self._needs(seq, start)
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
        self._outbox.encoder.append(_need(seq, needs))
        request.heard = now
        if request.asked is None:
            request.asked = now
        return True

    def _needs(self, seq: Sequence, start: int) -> dict[str, int]:
        if seq.request.windowed:
            return self._windows.at(seq.request, start)
        return seq.needs_after(start)

    def move_on(self, seq: Sequence, now: float) -> None:
        """Let go of the items behind what has been computed and answered of a prompt, and ask for
        as many of those ahead."""
        if seq.asked is None or not seq.computed:
            return
        assert seq.holder is not None
        done = behind(seq.request, seq.asked, seq.computed)
        needs = {} if self.closed else self._needs(seq, seq.computed)
        more = {key: rows for key, rows in needs.items() if key not in seq.asked}
        if more:
            self._outbox.encoder.append(_need(seq, more))
            seq.request.heard = now
        if done:
            self._outbox.encoder.append(Release(seq.holder, tuple(done)))
        seq.asked = (seq.asked - done) | more.keys()
        for key in done:
            seq.ready.pop(key, None)

    def try_alone(self, item: Item) -> None:
        """Ask for one on behalf of no request, to see whether the encoder survives it."""
        self._count += 1
        self.trial = f"trial.{self._count}", item.key
        later = (item.key,) if item.later else ()
        self._outbox.encoder.append(Need(self.trial[0], (item.key,), (item.rows,), later))

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
            if message.key not in (seq.asked or ()):
                continue  # it was let go of meanwhile
            seq.ready[message.key] = message.blob
            seq.stalled = False
            request = seq.request
            request.heard = now
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


def _need(seq: Sequence, rows: dict[str, int]) -> Need:
    later = {item.key for item in seq.request.prepared.items if item.later and item.key in rows}
    assert seq.holder is not None
    return Need(seq.holder, tuple(rows), tuple(rows.values()), tuple(sorted(later)))
