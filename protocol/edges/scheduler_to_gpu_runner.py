"""scheduler -> GPU runner: what to compute. New sequences come whole, known ones as differences."""

from ..memory.blobs import BlobRef
from ..requests.pooling import PoolingParams
from ..requests.sampling import SamplingParams
from ..wire import Message, Record

PADDING = 0
"""The block that is nobody's and never written; in a sequence's table, one that was given back."""


class NewSequence(Record, frozen=True):
    """A sequence the runner has not seen, or sees again after a preemption or a resume."""

    seq: int
    """The scheduler's number for it, never used twice in one epoch."""
    token_ids: tuple[int, ...]
    """Prompt and, after a preemption, the output so far."""
    prompt_tokens: int
    positions: bytes | None
    """int32 little endian [planes, prompt_tokens]; None: single plane 0, 1, 2 ..."""
    position_delta: int
    sampling: SamplingParams
    choice: int
    """Index among the request's n; part of the sampling counter (seed, choice, position)."""
    eos_token_ids: tuple[int, ...]
    block_tables: tuple[tuple[int, ...], ...]
    """Of each table, by position // block size; 0 where no token to be computed looks."""
    state: int = 0
    """The slot of its recurrent states; 0: the model has none."""
    state_from: int = 0
    """The slot whose states it gets before the step; 0: it begins at its first token."""
    pooling: PoolingParams | None = None
    """Vectors are wanted: nothing is sampled."""
    copied: int = 0
    """Tokens that begin the block `copy_to` as they begin `copy_from`, and are copied before the
    step: a model with one table."""
    copy_from: int = 0
    copy_to: int = 0


class Work(Record, frozen=True):
    """Compute positions [start, start+count) of one sequence."""

    seq: int
    start: int
    count: int
    sample: bool
    """True: the last position's logits give the next token, or the prompt ends there and its
    vectors are made. At decode the input is the token last sampled."""
    new_blocks: tuple[tuple[int, ...], ...] = ()
    """Appended to each block table before the step; (): to none."""
    snapshot: int = 0
    """The slot that its recurrent states are copied into after the step; 0: none."""
    draft: tuple[int, ...] = ()
    """Guesses of the tokens behind the sequence's last one, which are the last of the positions to
    compute: as many tokens are sampled as are guessed rightly, and one."""


class Embed(Record, frozen=True):
    """Rows [row, row+count) of `blob` are the embeddings of positions [start, start+count)."""

    seq: int
    start: int
    count: int
    row: int
    blob: BlobRef


class StepPlan(Message, frozen=True):
    """One step. Plans are answered in order, and sent before the last one's result is there."""

    step: int
    new: tuple[NewSequence, ...]
    work: tuple[Work, ...]
    embeds: tuple[Embed, ...]
    drop: tuple[int, ...]
    """Sequences whose runner state goes before this step."""


class ForgetSequences(Message, frozen=True):
    """Forget every sequence: the edge's state is about to be sent whole again."""


SchedulerToGpuRunner = StepPlan | ForgetSequences
