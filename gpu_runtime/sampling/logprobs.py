"""Log-probabilities as callers see them: of the raw logits, before penalties, temperature and
filters."""

import torch

from ...protocol.edges.gpu_runner_to_scheduler import TokenLogprobs

AT_ONCE = 64
"""Prompt positions whose logits are in memory together."""


def token_logprobs(logits: torch.Tensor, tokens: torch.Tensor, top: int) -> list[TokenLogprobs]:
    """For each row of `logits` [rows, vocab]: the given token's log-probability and rank, and the
    `top` likeliest."""
    table = logits.log_softmax(-1)
    own = table.gather(-1, tokens[:, None])
    ranks = (table > own).sum(-1) + 1
    best = table.topk(min(top, table.shape[-1]), dim=-1)
    columns = (tokens, own[:, 0], ranks, best.indices, best.values)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [
        TokenLogprobs(token, value, rank, tuple(zip(indices, values, strict=True)))
        for token, value, rank, indices, values in rows
    ]
