"""What the GPU runner computes next. Pure: it reads and writes the books, nothing else."""

import sys

from ...protocol.config.roles import SchedulerConfig
from ...protocol.edges.scheduler_to_gpu_runner import Embed, NewSequence, StepPlan
from .batch import Batch
from .books import Hit
from .company import Company
from .costs import LEAST, LEAST_BESIDE, LEAST_CHUNK, Costs, joining
from .decoding import Decoding
from .media import Embeddings
from .outbox import StepSizes, Tally
from .pace import Pace
from .pieces import Pieces
from .sequence import ScheduledRequest, Sequence
from .step import Step

LARGE_STEP = 8
"""Sequences from which on a step is counted in `Tally.steps_with_8_or_more`."""
HASHES = 1024
"""Blocks of newcomers hashed for a step while another is computed: more take too long."""
PATIENCE = 2.0
"""Seconds for which an item that is made when it is asked for may take before it counts as waiting
for space."""
MEDIA_AHEAD = 16
"""Waiting sequences that ask for embeddings before they run, while others are computed."""


class Planner:
    """Turns the batch into steps."""

    def __init__(
        self, config: SchedulerConfig, batch: Batch, media: Embeddings, pieces: Pieces, tally: Tally
    ) -> None:
        self._budget = config.max_batched_tokens
        self._costs = Costs(config)
        self.pace = Pace()
        self._decoding = Decoding(config, self._costs, self.pace, batch, tally)
        self._company = Company(self._costs, self.pace)
        self._max_seqs = config.max_num_seqs
        self._batch = batch
        self._media = media
        self._pieces = pieces
        self._tally = tally
        self.sizes = StepSizes()
        self.only: ScheduledRequest | None = None
        """The one request that may be computed now, because it runs alone."""
        self._reserved = 0
        """Budget that decoding leaves: what must stay whole did not fit into the step before."""

    def schedule(self, now: float, idle: bool) -> tuple[StepPlan, Step] | None:
        """One step: a token for everyone who decodes, then prompts in chunks, then newcomers, while
        the budget lasts.

        `idle`: no step is in flight. None where nothing can be computed.
        """
        if not idle and self._decoding.awaits_drafts():
            return None
        reserved, self._reserved = self._reserved, 0
        step = self._make(now, reserved)
        if reserved and not step.parts:
            # what the room was kept for lacks blocks, which those who decode may hold
            step = self._make(now)
        if not step.parts:
            if idle:
                self._give_way(step.starved, now)
            if not idle or not self._batch.drops:
                return None  # else the runner, with nothing to compute, is told what it may forget
        return self._finish(step), step

    def _make(self, now: float, reserved: int = 0) -> Step:
        """Decoding leaves `reserved` tokens of the budget free."""
        step = Step(self._budget)
        self.pace.expect(self._media.encoding)
        self._decoding.plan(step, reserved)
        step.share = max(step.share, 1 / LEAST)
        step.decoded = 1 - step.budget / self._budget
        step.streams = any(part.seq.request.prepared.streamed for part in step.parts)
        if step.streams and self.pace.beside_streams < step.share:
            step.share, step.least = self.pace.beside_streams, LEAST_BESIDE
        elif not step.streams:
            step.share = step.whole = self.pace.without_streams
        self._prefill(step)
        if not step.starved:
            self._admit(step, now)
        return step

    def awaits_company(self, now: float) -> float:
        """Up to when an engine that rests waits for more requests; in the past: it does not."""
        if self._batch.running:
            return 0.0
        return self._company.awaited_until(self._batch.waiting, self._cached, now)

    def _cached(self, seq: Sequence) -> int:
        hit = self._batch.hit(seq)
        return 0 if hit is None else hit.tokens

    def ask_ahead(self, now: float, idle: bool) -> None:
        """Before `schedule`: ask for the embeddings of sequences that run soon, in their order."""
        self._batch.may_hash(sys.maxsize if idle else HASHES)
        # an encoder-cache may have died while nothing could be asked for
        for seq in self._batch.running:
            if seq.request.spans and seq.asked is None and seq.planned < seq.media_end:
                self._media.ask(seq, seq.planned, now)
            elif seq.request.windowed and seq.computed < seq.media_end:
                self._media.move_on(seq, now)
        asking = 0
        for seq in filter(self._may_run, self._batch.waiting.media):
            if seq.asked is None and not self._yields(seq) and not seq.waits_for_leader():
                hit = self._batch.hit(seq)
                if hit is None:
                    return
                self._media.ask(seq, hit.tokens, now)
            asking += seq.holder is not None
            if asking >= MEDIA_AHEAD:
                return

    def _yields(self, seq: Sequence) -> bool:
        """It has just given way, and there are holders to give way to."""
        return seq.gave_way == self._tally.steps and self._media.holders > 0

    def _prefill(self, step: Step) -> None:
        running = self._batch.running
        index = 0  # preemption may shorten it meanwhile
        while index < len(running) and step.budget and step.share > 0:
            seq = running[index]
            index += 1
            if seq.planned < seq.target:
                self._chunk(seq, step)

    def _admit(self, step: Step, now: float) -> None:
        batch = self._batch
        for seq in batch.waiting.candidates():
            if not step.budget or step.share <= 0 or len(batch.running) >= self._max_seqs:
                return
            if (
                seq.stalled
                or seq.waits_for_leader()
                or not self._may_run(seq)
                or (seq.request.spans and seq.asked is None)
            ):
                continue
            hit = batch.hit(seq)
            if hit is None:
                return
            start = hit.tokens
            # a hit may have gone since it was first asked
            if seq.request.spans and not self._media.ask(seq, start, now):
                continue
            if not self._goes_on(seq, start, step):
                continue
            cost = joining(seq.request.prepared, seq.known) * self.pace.of_set_up * step.whole
            if cost > step.share and step.chunks:
                return  # in a step that has no other prompt, whatever it costs
            if not batch.admit(seq, hit):
                return  # a smaller one does not overtake it
            self._count_hit(seq, hit)
            step.new.append(_introduce(seq, hit))
            step.share -= cost
            if seq.request.started is None:
                seq.request.started = now
            self._chunk(seq, step)

    def _may_run(self, seq: Sequence) -> bool:
        return self.only is None or seq.request is self.only

    def _goes_on(self, seq: Sequence, start: int, step: Step) -> bool:
        """Whether a newcomer has something to compute in this step. A few tokens before an item
        that is not there wait for it: with its rows they cost little, and a step of their own would
        take the cores that encode it."""
        end = min(seq.known, start + step.budget)
        reach = self._pieces.reach(seq, start, end)
        nearby = min(end, reach + 1)
        if reach > start and (
            reach - start >= self._budget // LEAST_CHUNK or seq.items_reach(start, nearby) == nearby
        ):
            return True
        seq.stalled = reach > start or not self._reserve(seq, start)
        return False

    def _chunk(self, seq: Sequence, step: Step) -> None:
        """As much of a prompt as is allowed. What must stay whole is only bounded in tokens."""
        start = seq.planned
        count = self._costs.affordable(start, step.share, seq.wants_scores, step.least)
        limit = min(seq.target, start + min(step.budget, count))
        end = self._pieces.reach(
            seq, start, next((place for place in seq.landmarks if start < place < limit), limit)
        )
        if end == start and self._pieces.whole_at(seq, start) <= step.budget:
            end += self._pieces.whole_at(seq, start)
        if end == start:
            self._reserve(seq, start)
            return
        blocks = step.blocks(seq, end, self._batch)
        if blocks is None:
            return
        for placed in seq.request.spans:
            first, last = max(start, placed.start), min(end, placed.end)
            if first < last:
                row = placed.offset + first - placed.start
                step.embeds.append(
                    Embed(seq.number, first, last - first, row, seq.ready[placed.item.key])
                )
                self._tally.split_spans += first == placed.start and last < placed.end
        self._tally.prompt_tokens_computed += max(0, min(end, len(seq.prompt)) - start)
        cost = self._costs.span(start, end - start, seq.wants_scores)
        step.add(seq, end - start, end == seq.target, cost, blocks, self._batch.snapshot(seq, end))
        step.chunks += 1
        step.prompts += cost

    def _reserve(self, seq: Sequence, start: int) -> bool:
        """Keep room in the next step for what is ready and must stay whole; False: nothing is."""
        whole = self._pieces.whole_at(seq, start)
        self._reserved = max(self._reserved, whole)
        return whole > 0

    def patience(self, now: float) -> float | None:
        """When the first of those whose items are being made will have waited too long; None:
        nobody waits so."""
        running = self._batch.running
        ends = [_patience(seq) for seq in running if seq.request.windowed and _prefills(seq)]
        return min((end for end in ends if end > now), default=None)

    def _give_way(self, starved: bool, now: float) -> None:
        """Break a deadlock between blocks and embeddings: sequences that hold blocks may be waiting
        for embeddings whose space others hold, which in turn wait for blocks. `starved`: a running
        one lacks blocks, as those of a window come by and by."""
        running, waiting = self._batch.running, self._batch.waiting.media
        blocked = any(_prefills(seq) and _patience(seq) <= now for seq in running)
        if blocked or any(seq.stalled for seq in waiting):
            self._let_go([seq for seq in waiting if seq.holder is not None and not seq.stalled])
        if starved:
            self._put_back_youngest_holder()

    def _let_go(self, holding: list[Sequence]) -> None:
        """Waiting ones ask again after the next step, or when nobody is left to give way to."""
        steps = self._tally.steps
        if any(seq.gave_way != steps for seq in holding):
            for seq in holding:
                self._media.release(seq)
                seq.gave_way = steps

    def _put_back_youngest_holder(self) -> None:
        """Of those that run, but never the first in order: it always gets through."""
        behind = reversed(self._batch.running[1:])
        if youngest := next((seq for seq in behind if seq.holder is not None), None):
            youngest.gave_way = self._tally.steps
            self._batch.preempt(youngest)

    def _finish(self, step: Step) -> StepPlan:
        tally, batch = self._tally, self._batch
        tally.steps += 1
        tally.steps_with_8_or_more += len(step.parts) >= LARGE_STEP
        tally.max_sequences_in_step = max(tally.max_sequences_in_step, len(step.parts))
        step.number, work = tally.steps, tuple(part.work for part in step.parts)
        self.sizes.note(sum(one.count for one in work))
        drop = tuple(batch.drops)
        batch.drops.clear()
        return StepPlan(tally.steps, tuple(step.new), work, tuple(step.embeds), drop)

    def _count_hit(self, seq: Sequence, hit: Hit) -> None:
        tokens = hit.tokens
        self._tally.snapshot_hits += hit.state > 0
        if seq.joined:
            self._tally.recompute_hit_tokens += tokens
            return
        seq.joined = True
        self._tally.prefix_queries += 1
        self._tally.prefix_query_tokens += len(seq.prompt)
        self._tally.prefix_hit_tokens += tokens
        if seq.choice == 0:
            seq.request.cached_tokens = min(tokens, len(seq.prompt))


def _prefills(seq: Sequence) -> bool:
    return seq.planned < seq.target


def _patience(seq: Sequence) -> float:
    return seq.request.heard + PATIENCE if seq.request.windowed else 0.0


def _introduce(seq: Sequence, hit: Hit) -> NewSequence:
    prepared = seq.request.prepared
    sampling = prepared.sampling
    if sampling.prompt_logprobs is not None and not seq.wants_scores:
        sampling = sampling.replace(prompt_logprobs=None)
    # texts are others' work; a thousand of them would be read for each choice
    if sampling.stop or sampling.bad_words:
        sampling = sampling.replace(stop=(), bad_words=())
    return NewSequence(
        seq=seq.number,
        token_ids=(*prepared.token_ids, *seq.output),
        prompt_tokens=len(prepared.token_ids),
        positions=prepared.positions,
        position_delta=prepared.position_delta,
        sampling=sampling,
        choice=seq.choice,
        eos_token_ids=prepared.eos_token_ids,
        block_tables=tuple(tuple(blocks) for blocks in seq.holding.blocks),
        state=seq.holding.state,
        state_from=hit.state,
        copied=hit.copied,
        copy_from=hit.source,
        copy_to=seq.holding.blocks[0][seq.published] if hit.copied else 0,
        pooling=prepared.pooling,
    )
