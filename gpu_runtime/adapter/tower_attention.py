"""Attention of towers in pieces: that of a large picture takes a second in each layer, and others may want the cores meanwhile.

It is registered as one of transformers' own implementations, which gets the masks that SDPA would get, and is SDPA.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "thespis_tower"
_BOUND = "thespis_before_piece"
PIECE = 1 << 30
"""Products of a query's number and a key's that are computed before anybody else is looked at: some 60 ms of one thread."""
ROWS = 64
"""Queries of a piece are a multiple of this: as many torch's kernel takes at once, and more do not make it faster."""


def attend_in_pieces(tower: nn.Module, before_piece: Callable[[], None]) -> None:
    """Have every attention in `tower` that would be SDPA's call `before_piece` between pieces of its work."""
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    for module in tower.modules():
        setattr(module, _BOUND, before_piece)
        config: Any = getattr(module, "config", None)
        if getattr(config, "_attn_implementation", None) == "sdpa":
            config._attn_implementation = {"": NAME}  # of this part alone: those within it may have no choice


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """`query` [items, heads, n, width], `key` and `value` [items, kv_heads, m, width]. Queries know nothing of each other."""
    count = query.shape[2]
    rows = ROWS * max(1, PIECE // max(1, query[:, :, 0].numel() * key.shape[2]) // ROWS)
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if rows >= count or causal or attention_mask is not None or others.get("position_bias") is not None:
        made: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, is_causal=is_causal, **others
        )
        return made
    pieces = []
    for first in range(0, count, rows):
        getattr(module, _BOUND)()
        piece = query[:, :, first : first + rows]
        pieces.append(sdpa_attention_forward(module, piece, key, value, None, is_causal=False, **others)[0])
    return torch.cat(pieces, dim=1), None
