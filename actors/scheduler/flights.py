"""Steps that have been planned and not answered, and what becomes of each sequence in them by the
answer."""

from collections import deque
from dataclasses import dataclass

from ...protocol.edges.gpu_runner_to_scheduler import (
    Pooled,
    Sampled,
    Scored,
    SequenceFault,
    StepResult,
)
from ...protocol.edges.scheduler_to_detokenizer import Output, Outputs
from .batch import Batch
from .blame import Blame
from .draft import Part
from .faults import failure_of
from .finishing import ending
from .outbox import Outbox, Tally
from .register import Register
from .replay import prompt_scores, vectors
from .sequence import Place, ScheduledRequest, Sequence


@dataclass(slots=True)
class StepInFlight:
    """One of them."""

    step: int
    parts: list[Part]
    prompts: float = 0.0
    """The cost of what it computes of prompts."""
    decoded: float = 0.0
    """The share of a step's tokens that are for sequences that speak already."""
    orphaned: bool = False
    """The encoder-cache died meanwhile: a fault may be for want of its blobs."""


class Flights:
    """The runner answers them in order: tokens to the outputs, full blocks to the prefix cache,
    ends found."""

    def __init__(
        self, batch: Batch, register: Register, blame: Blame, outbox: Outbox, tally: Tally
    ) -> None:
        self._batch, self._register, self._blame, self._outbox, self._tally = (
            batch,
            register,
            blame,
            outbox,
            tally,
        )
        self.steps: deque[StepInFlight] = deque()
        """The oldest first."""

    def __len__(self) -> int:
        return len(self.steps)

    def others_than(self, request: ScheduledRequest) -> bool:
        """Whether a step computes anything of another request."""
        return any(
            part.seq.request is not request for flight in self.steps for part in flight.parts
        )

    def orphan(self) -> None:
        """The encoder-cache has died: blobs that these steps read may be gone under them."""
        for flight in self.steps:
            flight.orphaned = True

    def lose(self) -> list[tuple[Sequence, int]]:
        """The runner has died: nothing of these is answered. The sequences in them, and one past
        the last position of each."""
        touched = [(part.seq, part.end) for flight in self.steps for part in flight.parts]
        self.steps.clear()
        return touched

    def apply(self, result: StepResult, now: float) -> StepInFlight | None:
        """Take the oldest step's result; None where it is of a runner that is gone."""
        if not self.steps or self.steps[0].step != result.step:
            return None
        flight = self.steps.popleft()
        sampled: dict[int, list[Sampled]] = {}
        for entry in result.sampled:
            sampled.setdefault(entry.seq, []).append(entry)
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
                self._batch.shelve(seq, part.end, part.snapshot, not failed)
            if seq.ended:
                pass  # it was computed past an end: dropped
            elif failed:
                self._faulted(seq, faulty.get(part.number), flight.orphaned)
            else:
                taken = self._take(part, sampled.get(part.number, []))
                self._advance(part, taken, scores.get(part.number))
                if part.number in pooled:
                    self._answer(seq, pooled[part.number], now)
                elif part.sample:
                    outputs.append(self._said(seq, taken, now))
            if not seq.flights and seq.place is Place.LEAVING:
                self._batch.settle(seq)
        if outputs:
            self._outbox.detokenizer.append(Outputs(tuple(outputs)))
        for part in flight.parts:
            if part.seq.ended:
                self._register.close_if_over(part.seq.request)
        return flight

    def _take(self, part: Part, sampled: list[Sampled]) -> int:
        """Tokens to its output, up to its end; how many."""
        seq, request = part.seq, part.seq.request
        first = len(seq.output)
        for entry in sampled:
            seq.output.append(entry.token_id)
            if entry.logprobs is not None:
                seq.logprobs.append(entry.logprobs)
            seq.finish, seq.stop_token = ending(request.prepared, request.max_tokens, seq.output)
            if seq.finish is not None:
                break
        if part.guesses:
            self._tally.drafted_tokens += part.guesses
            self._tally.accepted_tokens += len(sampled) - 1
        return len(seq.output) - first

    def _advance(self, part: Part, taken: int, scores: Scored | None) -> None:
        """The positions up to its end have been computed; of a draft, those before the first wrong
        guess."""
        seq, end = part.seq, part.end
        if part.guesses:
            seq.planned = end = end - part.guesses - 1 + taken
        self._batch.advance(seq, end)
        if seq.doubt and end >= seq.doubt:
            self._blame.got_through(seq)
        if seq.wants_scores:
            self._score(seq, scores)

    def _said(self, seq: Sequence, taken: int, now: float) -> Output:
        """Its last tokens, so many."""
        request = seq.request
        prepared = request.prepared
        self._tally.generated_tokens += taken
        if request.first_token is None:
            request.first_token = now
        request.last_token = now
        if seq.finish is not None:
            seq.ended = True
            self._batch.leave(seq)
        position = len(seq.output) - taken
        logprobs = (
            tuple(seq.logprobs[len(seq.logprobs) - taken :])
            if prepared.sampling.logprobs is not None
            else ()
        )
        tokens = tuple(seq.output[position:])
        return Output(
            prepared.id,
            prepared.attempt,
            seq.choice,
            position,
            tokens,
            logprobs,
            seq.finish,
            seq.stop_token,
        )

    def _answer(self, seq: Sequence, pooled: Pooled, now: float) -> None:
        """With vectors, whole: nothing follows."""
        seq.vectors, seq.ended = pooled, True
        seq.request.first_token = now
        self._batch.leave(seq)
        self._outbox.detokenizer.append(vectors(seq.request, pooled))

    def _faulted(self, seq: Sequence, fault: SequenceFault | None, orphaned: bool) -> None:
        """A step could not compute it. Where that may be for want of an embedding that died, it is
        computed anew."""
        if seq.place is Place.LEAVING:
            return  # it has been preempted, perhaps for a fault of the step before
        if orphaned and not (fault is not None and fault.constrained):
            self._batch.preempt(seq)
        else:
            self._tally.faults += 1
            self._register.fail(seq.request, failure_of(fault))

    def _score(self, seq: Sequence, part: Scored | None) -> None:
        """Tell the prompt's log-probabilities as they come; after a preemption they come again from
        the start."""
        request, known = seq.request, len(seq.request.scores)
        if part is not None:
            request.scores.extend(part.entries[max(0, 1 + known - part.start) :])
        if seq.prefilled:
            request.scores_wanted = False
        if len(request.scores) > known or (seq.prefilled and not known):
            self._outbox.detokenizer += prompt_scores(request, known)
