"""What the works of a step cost, in shares of the longest step that streams are to wait for. Pure.

A step may compute `max_batched_tokens` of a prompt's beginning. Whatever else takes the runner's
time counts as the part of that which takes as long: later positions, since each looks back at all
before it; newcomers, whose state is set up between everybody's tokens; and what a caller's own
constraints cost at every token.
"""

import math

from ...protocol.config.roles import SchedulerConfig
from ...protocol.requests.prepared import Prepared
from ...protocol.requests.sampling import SamplingParams

STEP_SECONDS = 0.032
"""What set-up and constraints may take of one step: about as long as a full step of a small model
on one core."""
NEWCOMER_SECONDS = 0.001
"""To make a sequence known, and to begin a chunk of its own in every layer."""
ENTRY_SECONDS = 3e-6
"""Of each token id that its sampling parameters name, once."""
BAD_WORD_SECONDS = 2e-7
"""To compare one with the last tokens, at every token."""
SCORED = 2
"""A position whose log-probabilities are asked for passes the head, too."""
LEAST = 4
"""The part of a step that decoding leaves to prompts and newcomers is one in so many."""
LEAST_CHUNK = 8
"""Of the tokens of a step, one in so many is the least chunk: each chunk has to gather all that was
cached before it."""
LEAST_BESIDE = 128
"""The same of a step that streams wait for, and that would be too long for them: beside the encoder
a large model's token takes a fifth of what is left of three plain steps."""


class Costs:
    """The prices of one engine: its longest step, and its model's attention."""

    def __init__(self, config: SchedulerConfig) -> None:
        self._tokens = config.max_batched_tokens
        self._even = config.attention_even

    def span(self, start: int, count: int, scored: bool = False) -> float:
        """Of computing positions [start, start + count) of one sequence."""
        tokens = count * (1 + (start + count / 2) / self._even)
        return tokens * (SCORED if scored else 1) / self._tokens

    def affordable(
        self, start: int, share: float, scored: bool = False, least: int = LEAST_CHUNK
    ) -> int:
        """How many positions from `start` on `share` pays for; where it is less, the least chunk:
        one in `least` of a step."""
        room = max(0.0, share) * self._tokens / (SCORED if scored else 1)
        slope = 1 + start / self._even
        count = self._even * (math.sqrt(slope * slope + 2 * room / self._even) - slope)
        return max(math.ceil(count - 1e-6), self._tokens // least, 1)


def joining(prepared: Prepared, known: int) -> float:
    """The share of a step that making a sequence with `known` tokens known to the runner takes."""
    params = prepared.sampling
    entries = known // 8 + len(params.logit_bias or ()) + len(params.allowed_token_ids or ())
    entries += sum(map(len, params.bad_words_ids))
    seconds = NEWCOMER_SECONDS + ENTRY_SECONDS * entries
    if params.guide is not None:
        seconds += params.guide.first_seconds
    return seconds / STEP_SECONDS


def constraining(params: SamplingParams) -> float:
    """The share of a step that a caller's own constraints take for each token."""
    guide = params.guide
    seconds = (0.0 if guide is None else guide.each_seconds) + BAD_WORD_SECONDS * len(
        params.bad_words_ids
    )
    return seconds / STEP_SECONDS
