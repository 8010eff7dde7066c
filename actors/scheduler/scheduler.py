"""The scheduler's policy: requests in, plans out, results in, outputs out. No socket, no clock, no torch.

Times are parameters (seconds by time.monotonic); what must be sent goes to `outbox`. The shell in `actor.py` sends it.
"""

from collections import deque
from collections.abc import Iterable

from ...protocol.edges.client_to_scheduler import ChoiceSoFar
from ...protocol.edges.detokenizer_to_scheduler import Stopped
from ...protocol.edges.encoder_cache_to_scheduler import EmbeddingReady, EncodeFailed, Lost
from ...protocol.edges.gpu_runner_to_scheduler import Pooled, PromptLogprobs, Sampled, SequenceFault, StepResult
from ...protocol.edges.scheduler_to_client import MediaLost, Rejected
from ...protocol.edges.scheduler_to_detokenizer import Output, Outputs, SchedulerToDetokenizer
from ...protocol.edges.scheduler_to_gpu_runner import StepPlan
from ...protocol.errors import Failure
from ...protocol.pooling import needs_every_state
from ...protocol.prepared import Prepared
from ...protocol.roles import SchedulerConfig
from ...protocol.room import Room
from ..tombstones import Tombstones
from .batch import Batch
from .blame import Blame
from .books import Books
from .costs import constraining
from .faults import failure_of
from .finishing import ending
from .isolation import Isolation
from .limits import refusal, resolve_max_tokens
from .media import Embeddings
from .outbox import Outbox, Tally, about
from .planner import Part, Planner, StepInFlight
from .prefix import HashChain
from .replay import closing, prompt_scores, replay, vectors
from .sequence import Place, ScheduledRequest, Sequence, place_spans

IN_FLIGHT = 2
"""Plans sent and not answered: one is computed while the next lies ready."""
NO_ROOM = Books(Room(()), (), 1)
KEPT = 4096
"""Closed requests whose tokens are kept for a new detokenizer until the client acknowledges."""


class Scheduler:
    """Owns the queue, the token ids and the block tables of all requests."""

    def __init__(self, config: SchedulerConfig) -> None:
        self.outbox = Outbox()
        self.tally = Tally()
        self.config = config
        self.media = Embeddings(self.outbox)
        self.batch = Batch(self.media, self.tally, config.prefix_caching, config.max_batched_tokens)
        self.planner = Planner(config, self.batch, self.media, self.tally)
        self.requests: dict[str, ScheduledRequest] = {}
        """By id: live ones, and closed ones until they are acknowledged."""
        self.blame = Blame(self.outbox)
        self.isolation = Isolation(self.blame, self.batch, self.media, self.planner, self.requests)
        self._encoder_here = False
        self._only_told: str | None = None
        """The one request that the detokenizer may hear of, because it is suspected to end it."""
        self.flights: deque[StepInFlight] = deque()
        self._closed: dict[str, None] = {}
        self._over = Tombstones()

    # requests

    def submit(self, prepared: Prepared, now: float, so_far: tuple[ChoiceSoFar, ...] = ()) -> None:
        """Take a request in; `so_far`: what the client has of a resumed one. A lower attempt than the known one is stale."""
        known = self.requests.get(prepared.id)
        if prepared.id in self._over or (known is not None and known.prepared.attempt >= prepared.attempt):
            return
        if known is not None:
            self._drop(known)
        refused = refusal(prepared, self.config, self._longest()) or self.blame.refusal(prepared, now)
        if refused is not None:
            self.tally.rejected += 1
            self._say(prepared, Rejected(prepared.id, prepared.attempt, refused))
            return
        self.tally.requests += 1
        request = self._open(prepared, so_far, now)
        self.outbox.detokenizer += replay(request)
        for seq in request.sequences:
            if not seq.ended:
                self.batch.wait(seq)
        self._close_if_over(request)

    def stopped(self, message: Stopped) -> None:
        """The detokenizer found a stop string: tokens after it are not wanted."""
        request = self.requests.get(message.id)
        if request is None or request.prepared.attempt != message.attempt or message.choice >= len(request.sequences):
            return
        seq = request.sequences[message.choice]
        if seq.ended:
            return
        del seq.output[message.tokens :]
        del seq.logprobs[max(0, message.tokens - seq.resumed) :]
        seq.ended, seq.finish = True, "stop"
        self.batch.leave(seq)
        self._close_if_over(request)

    def end(self, ids: Iterable[str]) -> None:
        """These requests are over for their client."""
        ids = tuple(ids)
        self._over.add(ids)
        for id in ids:
            self.blame.over(id)
            request = self.requests.get(id)
            if request is not None:
                self.tally.aborted += not request.closed
                self._drop(request)
        self._tell_next()

    def acknowledge(self, ids: Iterable[str]) -> None:
        """The client has every token of these; nothing need be kept."""
        for id in ids:
            if id in self._closed:
                self.blame.over(id)
                self._drop(self.requests[id])
        self._tell_next()

    def client_gone(self, client: str) -> None:
        self.end([id for id, request in self.requests.items() if request.prepared.client == client])

    # embeddings

    def ready(self, message: EmbeddingReady, now: float) -> None:
        self.blame.items.ended(message.key)  # the encoder has survived it
        self.media.end_trial(message.holders)
        self.media.ready(message, now)

    def lost(self, message: Lost) -> None:
        """Its client prepares the request again, under a higher attempt."""
        for request in self._asking(message.key, message.holders):
            self._drop(request)
            self._say(request.prepared, MediaLost(request.id, request.prepared.attempt, (message.key,)))

    def encode_failed(self, message: EncodeFailed) -> None:
        self.blame.items.ended(message.key)
        for request in self._asking(message.key, message.holders):
            self._fail(request, message.failure)

    def _asking(self, key: str, holders: tuple[str, ...]) -> list[ScheduledRequest]:
        """For whom this answer is; that of a trial is for all who need the item."""
        trial = self.media.end_trial(holders) is not None
        asking = self.isolation.wanting(key) if trial else self.media.requests_of(holders)
        return [request for request in asking if self.requests.get(request.id) is request]  # others are only leaving

    def encoder_lost(self, epoch: int = 0, now: float = 0.0, outside: bool = True) -> None:
        """Blobs that steps in flight read may be gone under them. `outside`: it was killed, and is no sign of a bad item."""
        if self._encoder_here:
            self.blame.encoder_died(epoch, self.media.awaited(), outside, now)
        self._encoder_here = False
        self._orphan_flights()
        self._fail_banned(now)

    def encoder_joined(self, now: float) -> None:
        """A new encoder-cache knows nothing of us: whoever still needs items asks again, at the next step."""
        self._encoder_here = True
        self._orphan_flights()  # it may come before the news of the death

    # steps

    def schedule(self, now: float) -> StepPlan | None:
        """The next step, or None where nothing can be computed or enough is on its way."""
        self.isolation.prepare()
        self.planner.ask_ahead(now)
        if self.batch.books is None or len(self.flights) >= IN_FLIGHT:
            return None
        only = self.planner.only
        if only is not None and any(part.seq.request is not only for flight in self.flights for part in flight.parts):
            return None  # it would not be alone
        planned = self.planner.schedule(now, idle=not self.flights)
        if planned is None:
            return None
        plan, parts = planned
        self.flights.append(StepInFlight(plan.step, parts))
        return plan

    def apply(self, result: StepResult, now: float) -> None:
        """Take the oldest step's result: tokens to the outputs, full blocks to the prefix cache, ends found."""
        if not self.flights or self.flights[0].step != result.step:
            return  # of a runner that is gone
        flight = self.flights.popleft()
        sampled = {entry.seq: entry for entry in result.sampled}
        pooled = {entry.seq: entry for entry in result.pooled}
        faulty = {fault.seq: fault for fault in result.faults}
        scores = {entry.seq: entry for entry in result.prompt_logprobs}
        outputs: list[Output] = []
        for part in flight.parts:
            seq = part.seq
            seq.flights -= 1
            seq.pending -= part.sample
            answered = part.number in sampled or part.number in pooled
            failed = part.number in faulty or (part.sample and not answered)
            if part.snapshot:
                self.batch.shelve(seq, part.end, part.snapshot, not failed)
            if seq.ended:
                pass  # it was computed past an end: dropped
            elif failed:
                self._faulted(seq, faulty.get(part.number), flight.orphaned)
            else:
                self._advance(part, scores.get(part.number))
                if part.number in pooled:
                    self._answer(seq, pooled[part.number], now)
                elif part.sample:
                    outputs.append(self._append(seq, sampled[part.number], now))
            if not seq.flights and seq.place is Place.LEAVING:
                self.batch.settle(seq)
        if outputs:
            self.outbox.detokenizer.append(Outputs(tuple(outputs)))
        for part in flight.parts:
            if part.seq.ended:
                self._close_if_over(part.seq.request)

    def runner_lost(self, epoch: int = 0, now: float = 0.0, outside: bool = True) -> None:
        """Nothing of what was computed is left; what was answered stays. `outside`: it was killed, no request is to blame."""
        touched = [(part.seq, part.end) for flight in self.flights for part in flight.parts]
        self.flights.clear()
        self.batch.lose_runner()
        if touched:
            self.blame.runner_died(epoch, touched, outside, now)
            self._fail_banned(now)

    def runner_joined(self, room: Room) -> None:
        """A runner that knows nothing of us, with so much room."""
        self.runner_lost()
        self.batch.books = Books(room, self.config.windows, self.config.block_size)
        for request in {id(seq.request): seq.request for seq in self.batch.waiting}.values():
            refused = refusal(request.prepared, self.config, self._longest())
            if refused is not None:
                self.tally.rejected += 1
                self._fail(request, refused)

    def detokenizer_lost(self, epoch: int, now: float, outside: bool) -> None:
        """`outside`: it was killed, no request is to blame."""
        if outside:
            return
        told = [request for request in self.requests.values() if self._only_told in (None, request.id)]
        self.blame.detokenizer_died(epoch, told, now)
        self._fail_banned(now, closed=True)

    def detokenizer_joined(self) -> None:
        """A new detokenizer knows nothing: what the client has not acknowledged is told again; a suspect, alone."""
        self.outbox.detokenizer.clear()  # what it holds was meant for the one before, and is in the replay
        self._only_told = self.blame.texts.first(lambda id: id in self.requests)
        for request in self.requests.values():
            if self._only_told in (None, request.id):
                self.outbox.detokenizer += replay(request)

    def _tell_next(self) -> None:
        """The request that it was told of alone is over: tell it of the next suspect, or of everything."""
        if self._only_told is not None and self._only_told not in self.requests:
            self.detokenizer_joined()

    def for_detokenizer(self) -> list[SchedulerToDetokenizer]:
        """What to tell it now. While it is told of one suspect alone the rest is dropped, and replayed when its turn comes."""
        said, self.outbox.detokenizer = self.outbox.detokenizer, []
        return said if self._only_told is None else about(self._only_told, said)

    def counters(self) -> dict[str, float]:
        books = self.batch.books
        return {
            **self.tally.as_dict(),
            "running": len(self.batch.running),
            "waiting": len(self.batch.waiting),
            "kept": len(self._closed),
            "suspects": self.blame.suspects,
            "poison": self.blame.refused,
            "embeddings_asked_or_held": self.media.holders,
            **(books or NO_ROOM).counters(),
        }

    # parts of the above

    def _longest(self) -> int | None:
        """Tokens of the longest sequence that can be computed; None while there is no runner."""
        books = self.batch.books
        return None if books is None else books.longest(self.config.max_batched_tokens)

    def _open(self, prepared: Prepared, had: tuple[ChoiceSoFar, ...], now: float) -> ScheduledRequest:
        spans = place_spans(prepared)
        longest = max(1, resolve_max_tokens(prepared, self.config))
        request = ScheduledRequest(prepared, longest, spans, now, constraining(prepared.sampling))
        pooler = self.config.pooler
        request.whole = prepared.pooling is not None and pooler is not None and needs_every_state(prepared.pooling, pooler)
        placements = tuple((p.start, p.end, p.offset, p.item.key) for p in spans)
        share = self.config.prefix_caching and prepared.sampling.prompt_logprobs is None
        for choice in range(prepared.sampling.n):
            order = (prepared.priority, prepared.arrival, self.tally.requests, choice)
            chain = HashChain(prepared, placements, self.config.block_size, self.config.rope_bound)
            leader = request.sequences[0] if choice and share else None
            request.sequences.append(Sequence(request, choice, order, chain, leader))
        for seq, choice_had in zip(request.sequences, had, strict=False):
            seq.output = list(choice_had.token_ids)
            seq.resumed = len(seq.output)
            if seq.output:
                seq.finish, seq.stop_token = ending(prepared, request.max_tokens, seq.output)
            seq.ended = choice_had.ended or seq.finish is not None
            if seq.ended and seq.finish is None:
                seq.finish = "stop"  # by a stop string: the detokenizer will find it again
        request.released = tuple(choice_had.released for choice_had in had)
        told = bool(had and had[0].token_ids)  # the first choice's prefill brings them, before its first token
        request.scores_wanted = prepared.sampling.prompt_logprobs is not None and not told
        self.requests[prepared.id] = request
        return request

    def _advance(self, part: Part, scores: PromptLogprobs | None) -> None:
        """The positions up to its end have been computed."""
        seq = part.seq
        self.batch.advance(seq, part.end)
        if seq.doubt and part.end >= seq.doubt:
            self.blame.got_through(seq)
        if seq.wants_scores:
            self._score(seq, scores)

    def _append(self, seq: Sequence, sampled: Sampled, now: float) -> Output:
        request = seq.request
        prepared = request.prepared
        seq.output.append(sampled.token_id)
        logprobs = () if sampled.logprobs is None else (sampled.logprobs,)
        seq.logprobs.extend(logprobs)
        self.tally.generated_tokens += 1
        if request.first_token is None:
            request.first_token = now
        request.last_token = now
        seq.finish, seq.stop_token = ending(prepared, request.max_tokens, seq.output)
        if seq.finish is not None:
            seq.ended = True
            self.batch.leave(seq)
        position = len(seq.output) - 1
        token = (sampled.token_id,)
        return Output(prepared.id, prepared.attempt, seq.choice, position, token, logprobs, seq.finish, seq.stop_token)

    def _answer(self, seq: Sequence, pooled: Pooled, now: float) -> None:
        """With vectors, whole: nothing follows."""
        seq.vectors, seq.ended = pooled, True
        seq.request.first_token = now
        self.batch.leave(seq)
        self.outbox.detokenizer.append(vectors(seq.request, pooled))

    def _orphan_flights(self) -> None:
        self.media.void()
        for flight in self.flights:
            flight.orphaned = True

    def _faulted(self, seq: Sequence, fault: SequenceFault | None, orphaned: bool) -> None:
        """A step could not compute it. Where that may be for want of an embedding that died, it is computed anew."""
        if seq.place is Place.LEAVING:
            return  # it has been preempted, perhaps for a fault of the step before
        if orphaned and not (fault is not None and fault.constrained):
            self.batch.preempt(seq)
        else:
            self.tally.faults += 1
            self._fail(seq.request, failure_of(fault))

    def _score(self, seq: Sequence, part: PromptLogprobs | None) -> None:
        """Collect the prompt's log-probabilities; after a preemption they come again from the start."""
        request = seq.request
        if part is not None:
            request.scores.extend(part.entries[max(0, 1 + len(request.scores) - part.start) :])
        if seq.prefilled:
            request.scores_wanted = False
            self.outbox.detokenizer.append(prompt_scores(request))

    def _close_if_over(self, request: ScheduledRequest) -> None:
        if request.closed or self.requests.get(request.id) is not request or not all(s.ended for s in request.sequences):
            return
        request.closed = True
        self.blame.requests.ended(request.id)
        self.outbox.detokenizer.append(closing(request))
        self._closed[request.id] = None
        if len(self._closed) > KEPT:
            self._drop(self.requests[next(iter(self._closed))])

    def _fail_banned(self, now: float, closed: bool = False) -> None:
        """`closed`: those too that are computed and only wait for their text."""
        for request in tuple(self.requests.values()):
            refused = None if request.closed and not closed else self.blame.refusal(request.prepared, now)
            if refused is not None:
                self.tally.rejected += 1
                self._fail(request, refused)

    def _fail(self, request: ScheduledRequest, failure: Failure) -> None:
        self._drop(request)
        self._say(request.prepared, Rejected(request.id, request.prepared.attempt, failure))

    def _drop(self, request: ScheduledRequest) -> None:
        """Forget a request; what it holds goes back when no step touches it any more."""
        del self.requests[request.id]
        self._closed.pop(request.id, None)
        for seq in request.sequences:
            seq.ended = True
            self.batch.leave(seq)

    def _say(self, prepared: Prepared, message: Rejected | MediaLost) -> None:
        self.outbox.clients.append((prepared.client, message))
