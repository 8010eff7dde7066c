"""Requests and items that may be killing the runner, encoder or detokenizer: which to run alone,
which to refuse, and when.

For the runner the suspects are requests, by id: those in the steps in flight at its death. For the
encoder they are items, by key: those asked for and not there. A suspect request gets the batch for
itself until it is past the place where the runner died; a suspect item is asked for by itself, on
behalf of no request, until the encoder has survived it. For the detokenizer they are the requests
that it was told of; it is told of one suspect alone until that one is over.
"""

from collections.abc import Iterable, Mapping

from ...protocol.edges.control import Excuse
from ...protocol.errors import Failure
from ...protocol.requests.prepared import Prepared
from ...protocol.topology import DETOKENIZER, ENCODER_CACHE, GPU_RUNNER
from ..quarantine.fingerprints import fingerprint_of_prepared
from ..quarantine.records import POISON, Banned, Proof, Quarantine
from .batch import Batch
from .media import Embeddings
from .outbox import Outbox
from .planner import Planner
from .sequence import ScheduledRequest, Sequence

POISON_ITEM = Failure(
    "unprocessable_media",
    "An item of this request ended the encoder more than once, while nothing else was there: it "
    "is not tried again.",
    code="poison",
)


class Blame:
    """The quarantines, and what is refused on arrival."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.requests = Quarantine()
        self.items = Quarantine()
        self.texts = Quarantine()
        self._banned = Banned()
        self.refused = 0

    @property
    def suspects(self) -> int:
        """Requests. What is held against items outlives those that came with them: whoever takes
        his back after two deaths of the encoder has not cleared it."""
        return len(self.requests.suspects) + len(self.texts.suspects)

    def refusal(self, prepared: Prepared, now: float) -> Failure | None:
        """Why this request, or an item of it, is not tried."""
        if not len(self._banned):
            return None
        if self._banned.holds(fingerprint_of_prepared(prepared), now):
            return POISON
        if any(self._banned.holds(item.key, now) for item in prepared.items):
            return POISON_ITEM
        return None

    def runner_died(
        self, epoch: int, touched: Iterable[tuple[Sequence, int]], outside: bool, now: float
    ) -> None:
        """`touched`: sequences in the steps in flight, and one past the last position of each."""
        ids: dict[str, ScheduledRequest] = {}
        there: set[str] = set()
        for seq, end in touched:
            there.add(seq.request.id)
            if not seq.ended:
                seq.doubt = max(seq.doubt, end)
                ids[seq.request.id] = seq.request
        proof = self.requests.died(epoch, ids, outside, others=there != ids.keys())
        self._judge(GPU_RUNNER, proof, now, ids)

    def encoder_died(self, epoch: int, keys: set[str], outside: bool, now: float) -> None:
        self._judge(ENCODER_CACHE, self.items.died(epoch, sorted(keys), outside), now)

    def detokenizer_died(self, epoch: int, told: Iterable[ScheduledRequest], now: float) -> None:
        """Of its own accord, not by a kill from outside."""
        by_id = {request.id: request for request in told}
        self._judge(DETOKENIZER, self.texts.died(epoch, by_id, outside=False), now, by_id)

    def over(self, id: str) -> None:
        """Its client wants no more of it."""
        self.requests.ended(id)
        self.texts.ended(id)

    def got_through(self, seq: Sequence) -> None:
        """`seq` has been answered where the runner died, or has ended."""
        seq.doubt = 0
        if not any(other.doubt and not other.ended for other in seq.request.sequences):
            self.requests.passed(seq.request.id)

    def _judge(
        self,
        role: str,
        proof: Proof | None,
        now: float,
        requests: Mapping[str, ScheduledRequest] | None = None,
    ) -> None:
        """What is proved to have ended `role` is refused from now on, and the deaths are forgiven.
        `requests`: those that can be the cause; None: items are."""
        if proof is None:
            return
        name = proof.name
        self.refused += 1
        self._banned.add(
            fingerprint_of_prepared(requests[name].prepared) if requests else name, now
        )
        self._outbox.director.append(Excuse(role, proof.epochs))


class Isolation:
    """Makes room for a suspect before each step. Without suspects it costs nothing."""

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
        return request is not None and not request.ended

    def _clear_the_batch(self, alone: ScheduledRequest) -> None:
        for seq in tuple(self._batch.running):
            if seq.request is not alone:
                seq.request.preemptions += 1
                self._batch.leave(seq)
        for seq in self._batch.waiting:
            if seq.request is not alone and seq.holder is not None:
                self._media.release(seq)

    def _try_item(self) -> None:
        """While an item waits for its trial nothing is asked for; when all is answered, it is."""
        items = {
            item.key: item
            for request in self._requests.values()
            if not request.closed
            for item in request.prepared.items
        }
        key = self._blame.items.first(lambda key: key in items and bool(self.wanting(key)))
        self._media.closed = key is not None
        if key is not None and not self._media.awaited():
            self._media.try_alone(items[key])
