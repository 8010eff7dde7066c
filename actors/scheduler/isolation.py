"""One suspect at a time: clears the batch for a request that must run alone, or the encoder for an
item."""

from .batch import Batch
from .blame import Blame
from .media import Embeddings
from .planner import Planner
from .sequence import ScheduledRequest


class Isolation:
    """Checks before each step whether a suspect must run alone, and makes room for it. Without
    suspects it costs nothing."""

    def __init__(
        self,
        blame: Blame,
        batch: Batch,
        media: Embeddings,
        planner: Planner,
        requests: dict[str, ScheduledRequest],
    ) -> None:
        self._blame, self._batch, self._media, self._planner = blame, batch, media, planner
        self._requests = requests

    def prepare(self) -> None:
        """Choose who runs alone now, and make room. The others wait; nothing of theirs is lost."""
        if len(self._blame.requests) or self._planner.only is not None:
            id = self._blame.requests.first(self._is_live)
            self._planner.only = self._requests[id] if id is not None else None
            if id is not None:
                self._clear_the_batch(self._requests[id])
        if len(self._blame.items) or self._media.closed:
            self._try_item()

    def wanting(self, key: str) -> list[ScheduledRequest]:
        """Live requests that still need this item's embedding."""
        return [
            request
            for request in self._requests.values()
            if any(
                not seq.ended and key in seq.needs_after(seq.planned) for seq in request.sequences
            )
        ]

    def _is_live(self, id: str) -> bool:
        request = self._requests.get(id)
        return request is not None and not all(seq.ended for seq in request.sequences)

    def _clear_the_batch(self, alone: ScheduledRequest) -> None:
        for seq in tuple(self._batch.running):
            if seq.request is not alone:
                seq.request.preemptions += 1
                self._batch.leave(seq)
        for seq in self._batch.waiting:
            if seq.request is not alone and seq.holder is not None:
                self._media.release(seq)

    def _try_item(self) -> None:
        """While an item waits for its trial nothing else is asked for; when all else is answered,
        it is asked for alone."""
        rows = {
            item.key: item.rows
            for request in self._requests.values()
            if not request.closed
            for item in request.prepared.items
        }
        key = self._blame.items.first(lambda key: key in rows and bool(self.wanting(key)))
        self._media.closed = key is not None
        if key is not None and not self._media.awaited():
            self._media.try_alone(key, rows[key])
