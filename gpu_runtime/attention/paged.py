"""Attention over the paged KV cache: write the step's keys and values, then read each sequence's blocks.

Decode rows go through one padded attention per group over whole gathered blocks, query heads folded into rows;
chunks go one by one. All of it is plain torch and runs on any device.
"""

from typing import Any

import torch
from torch.nn import functional as F

from ..kv_pool import KvPool
from .step import Chunk, DecodeGroup, StepLayout

NAME = "thespis_paged"


class PagedAttention:
    """The attention of all layers; `begin` is called once a step, then each layer calls it once."""

    def __init__(self, pool: KvPool) -> None:
        self._pool = pool
        self._layout: StepLayout | None = None
        self._kept = pool.blocks[0].new_empty((0, *pool.blocks[0].shape[1:]))
        """Gathered blocks; kept between steps, because fresh megabytes fault in page by page at every step."""

    def begin(self, layout: StepLayout) -> None:
        self._layout = layout
        lists = [group.blocks for group in layout.groups] + [chunk.blocks for chunk in layout.chunks]
        wanted = max(map(len, lists), default=0)
        if wanted > len(self._kept):
            self._kept = self._kept.new_empty((max(wanted, 2 * len(self._kept)), *self._kept.shape[1:]))

    def __call__(
        self, layer: int, query: torch.Tensor, kv: torch.Tensor, scale: float, window: int | None = None
    ) -> torch.Tensor:
        """`query` [tokens, heads, head_dim] and `kv` [tokens, 2, kv_heads, head_dim] to [tokens, heads * head_dim]."""
        layout = self._layout
        assert layout is not None
        self._pool.slots[layer].index_copy_(0, layout.slots, kv)
        if not layout.chunks and len(layout.groups) == 1:
            return self._decode(layer, query, layout.groups[0], scale, window)
        out = query.new_empty((query.shape[0], query.shape[1] * query.shape[2]))
        for group in layout.groups:
            out[group.first : group.last] = self._decode(layer, query[group.first : group.last], group, scale, window)
        for chunk in layout.chunks:
            part = slice(chunk.first, chunk.last)
            out[part] = self._prefill(layer, query[part], kv[part], chunk, scale, window)
        return out

    def _gather(self, layer: int, blocks: torch.Tensor, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values [rows, kv_heads, tokens, head_dim] of the blocks, as strided views."""
        kept = self._kept[: len(blocks)]
        torch.index_select(self._pool.blocks[layer], 0, blocks, out=kept)
        shape = kept.shape
        kv = kept.view(rows, -1, *shape[2:])  # [rows, tokens, 2, kv_heads, head_dim]
        return kv[:, :, 0].transpose(1, 2), kv[:, :, 1].transpose(1, 2)

    def _decode(self, layer: int, query: torch.Tensor, group: DecodeGroup, scale: float, window: int | None) -> torch.Tensor:
        rows = group.last - group.first
        keys, values = self._gather(layer, group.blocks, rows)
        mask = None
        if rows == 1 and window is None:
            length = int(group.lengths[0])
            keys, values = keys[:, :, :length], values[:, :, :length]
        else:
            mask = group.mask(window, self._pool.block_size, query)
        folded = query.reshape(rows, keys.shape[1], -1, query.shape[-1])
        return F.scaled_dot_product_attention(folded, keys, values, mask, scale=scale).reshape(rows, -1)

    def _prefill(
        self, layer: int, query: torch.Tensor, kv: torch.Tensor, chunk: Chunk, scale: float, window: int | None
    ) -> torch.Tensor:
        heads = query.transpose(0, 1)[None]  # [1, heads, tokens, head_dim]
        if chunk.whole(window):
            keys, values = kv[:, 0].transpose(0, 1)[None], kv[:, 1].transpose(0, 1)[None]
            out = F.scaled_dot_product_attention(heads, keys, values, is_causal=True, scale=scale, enable_gqa=True)
        else:
            keys, values = self._gather(layer, chunk.blocks, 1)
            mask = chunk.mask(window, self._pool.block_size, query)
            out = F.scaled_dot_product_attention(heads, keys, values, mask, scale=scale, enable_gqa=True)
        return out[0].transpose(0, 1).reshape(query.shape[0], -1)


def register() -> None:
    """Make `NAME` an attention implementation of transformers. It gets `paged=PagedAttention` as a keyword of the model's call.

    No mask is registered for the name, which makes transformers build none.
    """
    from transformers.modeling_utils import AttentionInterface

    AttentionInterface.register(NAME, _from_transformers)


def _from_transformers(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    paged: PagedAttention,
    scaling: float,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """`query` [1, heads, tokens, head_dim], `key` and `value` [1, kv_heads, tokens, head_dim]; all of one flat step."""
    kv = torch.stack((key[0].transpose(0, 1), value[0].transpose(0, 1)), dim=1)
    out = paged(module.layer_idx, query[0].transpose(0, 1), kv, scaling, sliding_window)
    return out.view(1, query.shape[2], query.shape[1], query.shape[3]), None
