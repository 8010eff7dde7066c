"""Who says something in a step, and how much: one token, or a draft of several. Pure."""

from ...protocol.config.roles import SchedulerConfig
from .batch import Batch
from .costs import Costs
from .lookup import Lookup
from .outbox import Tally
from .pace import Pace
from .sequence import Sequence
from .step import Step


class Decoding:
    """The part of a step for sequences whose known tokens have all been computed."""

    def __init__(
        self, config: SchedulerConfig, costs: Costs, pace: Pace, batch: Batch, tally: Tally
    ) -> None:
        self._costs, self._pace, self._batch, self._tally = costs, pace, batch, tally
        self._lookup = Lookup(config.speculation)

    def awaits_drafts(self) -> bool:
        """A draft is being verified, or follows a token that is on its way. All wait for it: of who
        would not, steps would be made in between, and both kinds would take turns."""
        return self._lookup.is_on and any(
            seq.guesses or (seq.pending and self._decodes(seq) and self._lookup.guess(seq, 1))
            for seq in self._batch.running
        )

    def plan(self, step: Step, reserved: int) -> None:
        """A token or more of everyone whose turn it is; `reserved` of the budget are left."""
        room = step.budget - reserved
        running = self._batch.running
        late, drafts = self._out_of_turn(), self._lookup.is_on
        index = 0
        while index < len(running) and room > 0:  # preemption may shorten it meanwhile
            seq = running[index]
            index += 1
            if not self._decodes(seq) or seq in late:
                continue
            guesses = (
                self._guess(seq, room - 1, len(running) - index)
                if drafts and not seq.pending
                else ()
            )
            count = 1 + len(guesses)
            end = seq.planned + count
            blocks = step.blocks(seq, end, self._batch) if end > seq.holding.tokens else ()
            if blocks is None:
                continue
            cost = self._costs.span(seq.planned, count)
            if seq.request.constraining:
                cost += count * seq.request.constraining * self._pace.of_set_up
            step.add(seq, count, True, cost, blocks, guesses=guesses)
            seq.turn = self._tally.steps
            room -= count

    def _guess(self, seq: Sequence, room: int, others: int) -> tuple[int, ...]:
        """A draft within `room` tokens, which takes no place from so many `others` that are still
        to decode, and nothing past the end."""
        left = seq.request.max_tokens - len(seq.output) - 1
        guesses = self._lookup.guess(seq, min(room - others, left))
        return guesses if self._batch.has_place(seq, 1 + len(guesses), others) else ()

    def _out_of_turn(self) -> set[Sequence]:
        """Of the sequences whose constraints take time at every token, those that wait for a later
        step: half of a step is for them, and who has waited longest comes first."""
        costly = [
            seq for seq in self._batch.running if seq.request.constraining and self._decodes(seq)
        ]
        # others might not get one even if they were waited for
        able = [seq for seq in costly if self._batch.has_place(seq)]
        left, chosen = 0.5, set[Sequence]()
        for seq in sorted(able, key=lambda seq: seq.turn):
            if not chosen or seq.request.constraining <= left:
                chosen.add(seq)
                left -= seq.request.constraining
        return set(costly) - chosen if chosen else set()

    def _decodes(self, seq: Sequence) -> bool:
        """Its next token can be computed, and is wanted."""
        if seq.planned < seq.target or len(seq.output) + seq.pending >= seq.request.max_tokens:
            return False
        return not (self._lookup.is_on and seq.guesses)
