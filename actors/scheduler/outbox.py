"""What the policy wants sent, which is the shell's work, and what it counts."""

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate

from ...protocol.edges.control import Excuse
from ...protocol.edges.scheduler_to_client import SchedulerToClient
from ...protocol.edges.scheduler_to_detokenizer import SchedulerToDetokenizer
from ...protocol.edges.scheduler_to_encoder_cache import SchedulerToEncoderCache


@dataclass(slots=True)
class Outbox:
    """Messages in the order in which they must leave, by receiver; the shell empties it."""

    detokenizer: list[SchedulerToDetokenizer] = field(default_factory=list)
    encoder: list[SchedulerToEncoderCache] = field(default_factory=list)
    clients: list[tuple[str, SchedulerToClient]] = field(default_factory=list)
    director: list[Excuse] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """Counted since the start."""

    steps: int = 0
    steps_with_8_or_more: int = 0
    max_sequences_in_step: int = 0
    preemptions: int = 0
    prefix_queries: int = 0
    """First admissions of sequences that looked into the prefix cache."""
    prefix_query_tokens: int = 0
    """Tokens of their prompts..."""
    prefix_hit_tokens: int = 0
    """... and how many of these they found there."""
    recompute_hit_tokens: int = 0
    """What preempted sequences found of themselves."""
    snapshots_taken: int = 0
    """Recurrent states kept at the ends of beginnings..."""
    snapshot_hits: int = 0
    """... and sequences that went on from one."""
    split_spans: int = 0
    """Media spans prefilled in more than one step."""
    prompt_tokens_computed: int = 0
    generated_tokens: int = 0
    drafted_tokens: int = 0
    """Guessed and verified..."""
    accepted_tokens: int = 0
    """... and guessed rightly."""
    requests: int = 0
    rejected: int = 0
    aborted: int = 0
    faults: int = 0


STEP_TOKENS = (1, 8, *(1 << power for power in range(4, 15)))
"""Bounds of steps by their tokens; the smallest and the largest that are told apart."""


@dataclass(slots=True)
class StepSizes:
    """How many tokens the steps had."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(STEP_TOKENS) + 1))
    tokens: int = 0

    def note(self, tokens: int) -> None:
        self.counts[bisect_left(STEP_TOKENS, tokens)] += 1
        self.tokens += tokens

    def counters(self) -> dict[str, float]:
        """A histogram, as counters can tell one: steps up to each bound, and the sum."""
        upto = zip(STEP_TOKENS, accumulate(self.counts), strict=False)
        return {"step_tokens": self.tokens, **{f"steps_upto_{most}": n for most, n in upto}}
