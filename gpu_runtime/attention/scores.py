"""Attention of some queries over some keys: torch's own kernel, and a form written out for what no
kernel of it has."""

import torch
from torch.nn import functional as F


def attend(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
    *,
    causal: bool = False,
    softcap: float | None = None,
    sinks: torch.Tensor | None = None,
) -> torch.Tensor:
    """`query` [rows, heads, tokens, width] over `keys` and `values` [rows, kv_heads, columns,
    width], heads a multiple of kv_heads. `mask` is added to the scores; `causal`: the square of a
    prompt's beginning; `sinks` [1, heads, 1 or tokens, 1].
    """
    if softcap is None and sinks is None:
        gqa = query.shape[1] != keys.shape[1]
        return F.scaled_dot_product_attention(
            query, keys, values, mask, is_causal=causal, scale=scale, enable_gqa=gqa
        )
    groups = query.shape[1] // keys.shape[1]
    keys, values = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1)
    scores = query.float() @ keys.float().transpose(-1, -2) * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    elif mask is not None:
        scores = scores + mask
    if sinks is not None:
        column = sinks.float().expand(*scores.shape[:-1], 1)
        weights = torch.cat((scores, column), -1).softmax(-1)[..., :-1]
    else:
        weights = scores.softmax(-1)
    return (weights @ values.float()).to(query.dtype)
