"""Items that the encoder-cache may know from before this start: who waits for its word.

What it knows needs no decode worker. What it does not know, or does not say in time, goes on as if
nobody had asked. No sockets here: the shell gives it ways to send and to be called later.
"""

from asyncio import TimerHandle
from collections.abc import Callable
from dataclasses import dataclass, field

from ...protocol.edges.encoder_cache_to_preprocessor import Recalled
from ...protocol.edges.preprocessor_to_encoder_cache import Recall
from ...protocol.requests.prepared import Timing
from ...protocol.requests.request import Embeds, PackedEmbeds
from ...protocol.topology import ENCODER_CACHE
from .pending_request import PendingRequest, Waiter
from .shell import Shell
from .store import FeatureEntry

RECALL_SECONDS = 2.0
"""For which an answer is waited for: a disk that hangs must not hold what can be decoded."""


@dataclass(eq=False)
class _Question:
    since: float
    timer: TimerHandle
    waiters: list[tuple[Waiter, Callable[[], None]]] = field(default_factory=list)
    """And what goes on where the item is not known."""


class Recalling:
    """Owns the questions, by key."""

    def __init__(self, enabled: bool, shell: Shell, pump: Callable[[], None]) -> None:
        """`pump`: called when what is not known has been queued for decode workers."""
        self.enabled, self._shell, self._pump = enabled, shell, pump
        self._asked: dict[str, _Question] = {}
        self.recalled = 0

    def __len__(self) -> int:
        return len(self._asked)

    def close(self) -> None:
        for question in self._asked.values():
            question.timer.cancel()

    def counters(self) -> dict[str, float]:
        return {"recalled": self.recalled} if self.enabled else {}

    def ask(
        self, pending: PendingRequest, index: int, key: str, unknown: Callable[[], None]
    ) -> bool:
        """Wait for the encoder-cache's word. False: there is nobody to ask, or nothing: it has no
        name there, has been asked for, or is the embedding itself."""
        if index not in pending.names or index in pending.unknown:
            return False
        if isinstance(pending.request.media[index].source, Embeds | PackedEmbeds):
            return False
        question = self._asked.get(key)
        if question is None:
            if not self._shell.send(ENCODER_CACHE, Recall(key, pending.names[index])):
                return False
            timer = self._shell.later(RECALL_SECONDS, lambda: self._end(key))
            question = self._asked[key] = _Question(self._shell.clock(), timer)
        question.waiters.append((Waiter(pending, index), unknown))
        return True

    def told(self, message: Recalled) -> None:
        if message.item is None:
            self._end(message.key)
            return
        question = self._asked.pop(message.key, None)
        if question is None:  # nobody waits any more
            return
        question.timer.cancel()
        entry = FeatureEntry(message.item, "", recalled=True)
        now = self._shell.clock()
        for waiter, _ in question.waiters:
            pending, index = waiter.pending, waiter.index
            assert index is not None
            pending.take(index, entry)
            pending.kept.add(index)
            item = pending.request.media[index]
            pending.timings.append(Timing("recall", question.since, now, item.modality, item.where))
        self.recalled += 1
        for pending in {waiter.pending: None for waiter, _ in question.waiters}:
            if pending.complete:
                self._shell.complete(pending)

    def release(self, pending: PendingRequest) -> None:
        """It is over, and waits for nothing."""
        for key, question in list(self._asked.items()):
            question.waiters = [one for one in question.waiters if one[0].pending is not pending]
            if not question.waiters:
                question.timer.cancel()
                del self._asked[key]

    def gone(self) -> None:
        """The encoder-cache is: nobody answers."""
        for key in list(self._asked):
            self._end(key)

    def _end(self, key: str) -> None:
        """It is not known."""
        question = self._asked.pop(key, None)
        if question is None:
            return
        question.timer.cancel()
        for waiter, unknown in question.waiters:
            if not waiter.pending.over:
                assert waiter.index is not None
                waiter.pending.unknown.add(waiter.index)
                self._shell.guarded(waiter.pending, unknown)
        self._pump()
