"""What the policy wants sent, which is the shell's work, and what it counts."""

from dataclasses import dataclass, field

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
