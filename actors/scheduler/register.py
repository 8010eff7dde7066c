"""Which requests there are: they are taken in, closed, refused and forgotten here alone."""

from collections.abc import Iterable

from ...protocol.config.roles import SchedulerConfig
from ...protocol.edges.client_to_scheduler import ChoiceSoFar
from ...protocol.edges.scheduler_to_client import MediaLost
from ...protocol.edges.shared import RequestFailed
from ...protocol.errors import Failure
from ...protocol.requests.prepared import Prepared
from ..kernel.tombstones import Tombstones
from .arrival import opened, refusal
from .batch import Batch
from .blame import Blame
from .outbox import Outbox, Tally
from .sequence import ScheduledRequest
from .telling import closing, replay

KEPT = 4096
"""Closed requests whose tokens are kept for a new detokenizer until the client acknowledges."""


class Register:
    """Every request from its arrival until its client wants no more of it."""

    def __init__(
        self, config: SchedulerConfig, batch: Batch, blame: Blame, outbox: Outbox, tally: Tally
    ) -> None:
        self._config, self._batch, self._blame = config, batch, blame
        self._outbox, self._tally = outbox, tally
        self.requests: dict[str, ScheduledRequest] = {}
        """By id: live ones, and closed ones until they are acknowledged."""
        self._closed: dict[str, None] = {}
        """Ids of the closed ones, in the order in which they were."""
        self._over = Tombstones()
        """Ids of which nothing more is wanted, however late it comes."""

    @property
    def kept(self) -> int:
        """Closed and not acknowledged."""
        return len(self._closed)

    def holds(self, request: ScheduledRequest) -> bool:
        """False: it is forgotten, or replaced by a higher attempt, and only leaving."""
        return self.requests.get(request.id) is request

    def take(self, prepared: Prepared, so_far: tuple[ChoiceSoFar, ...], now: float) -> None:
        """A request comes in, unless it is refused. A lower attempt than the known one is stale."""
        known = self.requests.get(prepared.id)
        if prepared.id in self._over or (
            known is not None and known.prepared.attempt >= prepared.attempt
        ):
            return
        if known is not None:
            self.drop(known)
        refused = refusal(prepared, self._config, self._longest()) or self._blame.refusal(
            prepared, now
        )
        if refused is not None:
            self._tally.rejected += 1
            self._say(prepared, RequestFailed(prepared.id, prepared.attempt, refused))
            return
        self._tally.requests += 1
        request = opened(prepared, so_far, now, self._config, self._tally.requests)
        self.requests[prepared.id] = request
        self._outbox.detokenizer += replay(request)
        for seq in request.sequences:
            if not seq.ended:
                self._batch.wait(seq)
        self.close_if_over(request)

    def end(self, ids: Iterable[str]) -> None:
        """These are over for their client."""
        ids = tuple(ids)
        self._over.add(ids)
        for id in ids:
            self._blame.over(id)
            request = self.requests.get(id)
            if request is not None:
                self._tally.aborted += not request.closed
                self.drop(request)

    def acknowledge(self, ids: Iterable[str]) -> None:
        """The client has every token of these; nothing need be kept."""
        for id in ids:
            if id in self._closed:
                self._blame.over(id)
                self.drop(self.requests[id])

    def close_if_over(self, request: ScheduledRequest) -> None:
        """All its choices may have ended."""
        if request.closed or not self.holds(request) or not request.ended:
            return
        request.closed = True
        self._blame.requests.ended(request.id)
        self._outbox.detokenizer.append(closing(request))
        self._closed[request.id] = None
        if len(self._closed) > KEPT:
            self.drop(self.requests[next(iter(self._closed))])

    def lose_media(self, request: ScheduledRequest, key: str) -> None:
        """Its client prepares it again, under a higher attempt."""
        self.drop(request)
        self._say(request.prepared, MediaLost(request.id, request.prepared.attempt, (key,)))

    def fail(self, request: ScheduledRequest, failure: Failure) -> None:
        self.drop(request)
        self._say(request.prepared, RequestFailed(request.id, request.prepared.attempt, failure))

    def refuse_banned(self, now: float, closed: bool = False) -> None:
        """Who kills a process may be known now. `closed`: also those that only wait for text."""
        for request in tuple(self.requests.values()):
            if closed or not request.closed:
                self._fail_if(request, self._blame.refusal(request.prepared, now))

    def refuse_too_long(self) -> None:
        """A new runner may hold less than the one before; all that are live wait."""
        for request in dict.fromkeys(seq.request for seq in self._batch.waiting):
            self._fail_if(request, refusal(request.prepared, self._config, self._longest()))

    def _fail_if(self, request: ScheduledRequest, refused: Failure | None) -> None:
        if refused is not None:
            self._tally.rejected += 1
            self.fail(request, refused)

    def drop(self, request: ScheduledRequest) -> None:
        """Forget a request; what it holds goes back when no step touches it any more."""
        del self.requests[request.id]
        self._closed.pop(request.id, None)
        for seq in request.sequences:
            seq.ended = True
            self._batch.leave(seq)

    def _longest(self) -> int | None:
        """Tokens of the longest sequence that can be computed; None while there is no runner."""
        books = self._batch.books
        return None if books is None else books.longest(self._config.max_batched_tokens)

    def _say(self, prepared: Prepared, message: RequestFailed | MediaLost) -> None:
        self._outbox.clients.append((prepared.client, message))
