"""Tokens of one step: of each sequence one, and as many more as its draft has guessed.

A guess is right where it is what would be chosen in its place anyway: constraints, penalties and
random numbers depend on the sequence's own tokens alone, so what is said is the same with drafts
and without.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ...protocol.edges.gpu_runner_to_scheduler import TokenLogprobs
from .sampler import SamplerState, chosen_logprobs, sample


@dataclass
class Turn:
    """One sequence's part."""

    row: int
    """Of the table of sequences."""
    state: SamplerState
    """Is advanced with each token."""
    rows: list[int] = field(default_factory=list)
    """Of the logits: behind its last token, then behind each guess."""
    draft: tuple[int, ...] = ()
    tokens: list[tuple[int, TokenLogprobs | None]] = field(default_factory=list)
    """What it says, at least one token unless it has `failed`."""
    failed: bool = False
    """No token can be chosen."""


def speak(logits: torch.Tensor, turns: Sequence[Turn]) -> None:
    """Choose the tokens of all `turns` by `logits` float32 [rows, vocab], place after place."""
    speaking, place = list(turns), 0
    while speaking:
        rows = [turn.rows[place] for turn in speaking]
        own = logits if rows == list(range(len(logits))) else logits[rows]
        states = [turn.state for turn in speaking]
        choices = sample(own, states)
        logprobs = chosen_logprobs(own, choices.tokens, states)
        right: list[Turn] = []
        for row, turn in enumerate(speaking):
            if row in choices.failed:
                turn.failed = place == 0  # else the next step meets it
                continue
            token = choices.tokens[row]
            turn.state.advance(token)
            turn.tokens.append((token, logprobs.get(row)))
            if turn.draft[place : place + 1] == (token,):
                right.append(turn)
        speaking, place = right, place + 1
