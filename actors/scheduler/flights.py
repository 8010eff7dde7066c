"""Steps that are planned and not answered, and what becomes of their sequences by the answer."""

from collections import deque

from ...protocol.edges.gpu_runner_to_scheduler import (
    Pooled,
    Sampled,
    Scored,
    SequenceFault,
    StepResult,
)
from ...protocol.edges.scheduler_to_detokenizer import Output, Outputs
from ...protocol.errors import Failure
from .batch import Batch
from .blame import Blame
from .outbox import Outbox, Tally
from .register import Register
from .sequence import Place, ScheduledRequest, Sequence
from .step import Part, Step
from .telling import output_of, prompt_scores, vectors

FAULT = Failure(
    "internal", "The model could not compute this request; the others were not affected."
)
DEAD_END = Failure(
    "invalid_request",
    "What the request asks of its answer leaves no token to go on with: its grammar, bad_words, "
    "allowed_token_ids and logit_bias exclude each other, or the grammar has become too large.",
    code="dead_end",
)


class Flights:
    """The runner answers them in their order."""

    def __init__(
        self, batch: Batch, register: Register, blame: Blame, outbox: Outbox, tally: Tally
    ) -> None:
        self._batch, self._register, self._blame = batch, register, blame
        self._outbox, self._tally = outbox, tally
        self.steps: deque[Step] = deque()
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
        """The runner has died. The sequences in them, and one past the last position of each."""
        touched = [(part.seq, part.end) for flight in self.steps for part in flight.parts]
        self.steps.clear()
        return touched

    def apply(self, result: StepResult, now: float) -> Step | None:
        """Take the oldest step's result; None where it is of a runner that is gone."""
        if not self.steps or self.steps[0].number != result.step:
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
            seq, work = part.seq, part.work
            seq.flights -= 1
            seq.pending -= work.sample
            answered = work.seq in sampled or work.seq in pooled
            failed = work.seq in faulty or (work.sample and not answered)
            if work.snapshot:
                self._batch.shelve(seq, part.end, work.snapshot, not failed)
            if seq.ended:
                pass  # it was computed past an end: dropped
            elif failed:
                self._faulted(seq, faulty.get(work.seq), flight.orphaned)
            else:
                taken = self._take(part, sampled.get(work.seq, []))
                self._advance(part, taken, scores.get(work.seq))
                if work.seq in pooled:
                    self._answer(seq, pooled[work.seq], now)
                elif work.sample:
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
        seq = part.seq
        first = len(seq.output)
        for entry in sampled:
            seq.output.append(entry.token_id)
            if entry.logprobs is not None:
                seq.logprobs.append(entry.logprobs)
            seq.finish_by_tokens()
            if seq.finish is not None:
                break
        if part.work.draft:
            self._tally.drafted_tokens += len(part.work.draft)
            self._tally.accepted_tokens += len(sampled) - 1
        return len(seq.output) - first

    def _advance(self, part: Part, taken: int, scores: Scored | None) -> None:
        """Its positions are computed; of a draft, those before the first wrong guess."""
        seq, end = part.seq, part.end
        if part.work.draft:
            seq.planned = end = part.work.start + taken
        self._batch.advance(seq, end)
        if seq.doubt and end >= seq.doubt:
            self._blame.got_through(seq)
        if seq.wants_scores:
            self._score(seq, scores)

    def _said(self, seq: Sequence, taken: int, now: float) -> Output:
        """Its last tokens, so many."""
        request = seq.request
        self._tally.generated_tokens += taken
        if request.first_token is None:
            request.first_token = now
        request.last_token = now
        if seq.finish is not None:
            seq.ended = True
            self._batch.leave(seq)
        return output_of(seq, len(seq.output) - taken, len(seq.output))

    def _answer(self, seq: Sequence, pooled: Pooled, now: float) -> None:
        """With vectors, whole: nothing follows."""
        seq.vectors, seq.ended = pooled, True
        seq.request.first_token = now
        self._batch.leave(seq)
        self._outbox.detokenizer.append(vectors(seq.request, pooled))

    def _faulted(self, seq: Sequence, fault: SequenceFault | None, orphaned: bool) -> None:
        """A step could not compute it: anew, if that may be for want of an embedding that died."""
        if seq.place is Place.LEAVING:
            return  # it has been preempted, perhaps for a fault of the step before
        dead_end = fault is not None and fault.constrained
        if orphaned and not dead_end:
            self._batch.preempt(seq)
        else:
            self._tally.faults += 1
            self._register.fail(seq.request, DEAD_END if dead_end else FAULT)

    def _score(self, seq: Sequence, part: Scored | None) -> None:
        """Tell the prompt's log-probabilities as they come; after a preemption they come again."""
        request, known = seq.request, len(seq.request.scores)
        if part is not None:
            request.scores.extend(part.entries[max(0, 1 + known - part.start) :])
        if seq.prefilled:
            request.scores_wanted = False
        if len(request.scores) > known or (seq.prefilled and not known):
            self._outbox.detokenizer += prompt_scores(request, known)
