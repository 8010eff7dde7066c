"""Requests and items that may be killing the runner, encoder or detokenizer: which to run alone,
which to refuse, and when.

For the runner the suspects are requests, by id: those in the steps in flight at its death. For the
encoder they are items, by key: those asked for and not there. A suspect request gets the batch for
itself until it is past the place where the runner died; a suspect item is asked for by itself, on
behalf of no request, until the encoder has survived it. For the detokenizer they are the requests
that it was told of; it is told of one suspect alone until that one is over.
"""

from collections.abc import Iterable

from ...protocol.edges.control import Excuse
from ...protocol.errors import Failure
from ...protocol.requests.prepared import Prepared
from ...protocol.topology import DETOKENIZER, ENCODER_CACHE, GPU_RUNNER
from ..quarantine.fingerprints import fingerprint_of_prepared
from ..quarantine.records import POISON, Banned, Quarantine
from .outbox import Outbox
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
        return sum(len(one.suspects) for one in (self.requests, self.items, self.texts))

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
        if proof is not None:
            self._ban(
                fingerprint_of_prepared(ids[proof.name].prepared),
                now,
                Excuse(GPU_RUNNER, proof.epochs),
            )

    def encoder_died(self, epoch: int, keys: set[str], outside: bool, now: float) -> None:
        proof = self.items.died(epoch, sorted(keys), outside)
        if proof is not None:
            self._ban(proof.name, now, Excuse(ENCODER_CACHE, proof.epochs))

    def detokenizer_died(self, epoch: int, told: Iterable[ScheduledRequest], now: float) -> None:
        """Of its own accord, not by a kill from outside."""
        by_id = {request.id: request for request in told}
        proof = self.texts.died(epoch, by_id, outside=False)
        if proof is not None:
            self._ban(
                fingerprint_of_prepared(by_id[proof.name].prepared),
                now,
                Excuse(DETOKENIZER, proof.epochs),
            )

    def over(self, id: str) -> None:
        """Its client wants no more of it."""
        self.requests.ended(id)
        self.texts.ended(id)

    def got_through(self, seq: Sequence) -> None:
        """`seq` has been answered where the runner died, or has ended."""
        seq.doubt = 0
        if not any(other.doubt and not other.ended for other in seq.request.sequences):
            self.requests.passed(seq.request.id)

    def _ban(self, name: str, now: float, excuse: Excuse) -> None:
        self.refused += 1
        self._banned.add(name, now)
        self._outbox.director.append(excuse)
