"""Attention of towers in pieces: that of a large picture takes a second in each layer, and others
may want the cores meanwhile.

It is registered as one of transformers' own implementations, which gets the masks that SDPA would
get, and is SDPA, or the native kernel where every patch sees every other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ..attention.dense import Dense

NAME = "thespis_tower"
_BOUND = "thespis_tower_way"
PIECE = 1 << 30
"""Products of a query's number and a key's that are computed before anybody else is looked at: some
60 ms of one thread."""
ROWS = 64
"""Queries of a piece are a multiple of this: as many torch's kernel takes at once, and more do not
make it faster."""
NATIVE_ROWS = 384
"""The same of the native kernel."""


@dataclass
class _Way:
    """Of one tower."""

    before_piece: Callable[[], None]
    dense: Dense | None


def attend_in_pieces(
    tower: nn.Module, before_piece: Callable[[], None], dense: Dense | None = None
) -> None:
    """Have every attention in `tower` that would be SDPA's call `before_piece` between pieces of
    its work, and be `dense` where it can."""
    way = _Way(before_piece, dense)
    for module in tower.modules():
        setattr(module, _BOUND, way)
        config: Any = getattr(module, "config", None)
        if getattr(config, "_attn_implementation", None) == "sdpa":
            # Of this part alone: those within it may have no choice.
            config._attn_implementation = {"": NAME}


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """`query` [items, heads, n, width], `key` and `value` [items, kv_heads, m, width]. Queries know
    nothing of each other."""
    way: _Way = getattr(module, _BOUND)
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if causal or attention_mask is not None or others.get("position_bias") is not None:
        return _sdpa(module, query, key, value, attention_mask, is_causal=is_causal, **others), None
    dense = way.dense
    if dense is not None and (others.get("dropout") or not dense.takes(query, key, value)):
        dense = None
    scale = others.get("scaling") or query.shape[-1] ** -0.5
    count, step = query.shape[2], ROWS if dense is None else NATIVE_ROWS
    rows = step * max(1, PIECE // max(1, query[:, :, 0].numel() * key.shape[2]) // step)
    pieces = []
    for first in range(0, count, rows):
        if rows < count:
            way.before_piece()
        piece = query[:, :, first : first + rows]
        if dense is None:
            pieces.append(_sdpa(module, piece, key, value, None, is_causal=False, **others))
        else:
            pieces.append(dense(piece, key, value, scale))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1), None


def _sdpa(*given: Any, **others: Any) -> torch.Tensor:
    """[items, n, heads, width]"""
    made: torch.Tensor = sdpa_attention_forward(*given, **others)[0]
    return made


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
