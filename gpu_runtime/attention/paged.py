"""Attention over the paged KV cache: write the step's keys and values, then read each sequence's
blocks.

On a CPU native kernels read them in place, on a GPU Triton's. Without those decode rows go through
one padded attention per group over whole gathered blocks, query heads folded into rows; chunks go
one by one. That is plain torch and runs anywhere.
"""

from collections.abc import Callable, Collection, Sequence

import torch

from ...protocol.facts import SpanWindows
from ..layers.how import How
from ..memory.kv_pool import KvPool
from ..native.library import Kernels
from ..triton.attention import OnDevice, TritonKernels
from .in_place import InPlace
from .metadata import AttentionMetadata, Chunk, DecodeGroup
from .scores import attend
from .seen import InPlaceRows


class PagedAttention:
    """The attention of all layers; `begin` is called once a step, then each layer calls it once."""

    def __init__(
        self,
        pool: KvPool,
        span_layers: Collection[int] = (),
        span_windows: SpanWindows = "behind",
        kernels: Kernels | TritonKernels | None = None,
    ) -> None:
        """`span_layers`: those in which the tokens of a span see each other both ways, as far as
        `span_windows` says. `kernels`: by which blocks are read in place."""
        self._pool = pool
        self._native = InPlace(kernels, pool) if isinstance(kernels, Kernels) else None
        self._device = (
            OnDevice(kernels, pool, span_windows) if isinstance(kernels, TritonKernels) else None
        )
        self.in_place = tuple(
            self._native is not None and self._native.covers(table)
            for table in range(len(pool.tables))
        )
        """Of each table: its steps are to be laid out for reading in place."""
        self.on_device = tuple(
            self._device is not None and self._device.covers(table)
            for table in range(len(pool.tables))
        )
        """Of each table: its steps are to be laid out for the device's kernels."""
        self.threads_of_long_chunks = 0
        """On a CPU; 0: as many as torch has."""
        self.before_layer: Callable[[], None] | None = None
        """Asked by every layer, so that a long step may be given more threads, or fewer."""
        self._span_layers = frozenset(span_layers)
        self._span_windows = span_windows
        self._metadata: Sequence[AttentionMetadata] = ()
        self._kept: dict[torch.Size, torch.Tensor] = {
            whole.shape[1:]: whole.new_empty((0, *whole.shape[1:]))
            for whole in pool.blocks.values()
        }
        """Gathered blocks, by their shape; kept between steps, because fresh megabytes fault in
        page by page at every step."""

    def begin(self, metadata: Sequence[AttentionMetadata]) -> None:
        """`metadata`: of each table."""
        self._metadata = metadata

    def looks_ahead(self, layer: int) -> bool:
        """Whether tokens of a span see those behind them in this layer."""
        return layer in self._span_layers

    def width(self, layer: int) -> int:
        """Columns of the layer's keys, and of its values."""
        return self._pool.blocks[layer].shape[-1]

    def __call__(self, layer: int, query: torch.Tensor, kv: torch.Tensor, how: How) -> torch.Tensor:
        """`query` [tokens, heads, width] and `kv` [tokens, 2, kv_heads, width] to [tokens, heads *
        width]."""
        if self.before_layer is not None:
            self.before_layer()
        metadata = self._metadata[self._pool.table_of[layer]]
        if layer not in self._pool.readers:
            self._pool.slots[layer].index_copy_(0, metadata.slot_mapping, kv)
        if metadata.on_device is not None:
            assert self._device is not None, (
                "laid out for kernels, which `on_device` does not say of the table"
            )
            return self._device(layer, query, metadata.on_device, how, self.looks_ahead(layer))
        only = metadata.groups[0] if len(metadata.groups) == 1 and metadata.has_no_chunks else None
        if isinstance(only, DecodeGroup):
            return self._decode(layer, query, only, how)
        out = query.new_empty((query.shape[0], query.shape[1] * query.shape[2]))
        for group in metadata.groups:
            if isinstance(group, InPlaceRows):
                self._in_place.rows(layer, query, group, how, out)
            else:
                out[group.first : group.last] = self._decode(
                    layer, query[group.first : group.last], group, how
                )
        self._chunks(layer, query, kv, metadata, how, out)
        return out

    def _chunks(
        self,
        layer: int,
        query: torch.Tensor,
        kv: torch.Tensor,
        metadata: AttentionMetadata,
        how: How,
        out: torch.Tensor,
    ) -> None:
        if metadata.in_place is not None:
            seen = metadata.in_place.seen(self.looks_ahead(layer), self._span_windows)
            if seen is not None:
                self._in_place.chunks(layer, query, seen, how, out, self.threads_of_long_chunks)
                return
        for chunk in metadata.chunks:
            part = slice(chunk.first, chunk.last)
            out[part] = self._prefill(layer, query[part], kv[part], chunk, how)

    @property
    def _in_place(self) -> InPlace:
        assert self._native is not None, (
            "laid out for reading in place, which `in_place` does not say of the table"
        )
        return self._native

    def _gather(
        self, layer: int, blocks: torch.Tensor, rows: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values [rows, kv_heads, tokens, width] of the blocks, as strided views."""
        pool = self._pool.blocks[layer]
        shape = pool.shape[1:]
        if len(blocks) > len(self._kept[shape]):
            self._kept[shape] = pool.new_empty(
                (max(len(blocks), 2 * len(self._kept[shape])), *shape)
            )
        kept = self._kept[shape][: len(blocks)]
        torch.index_select(pool, 0, blocks, out=kept)
        kv = kept.view(rows, -1, *shape[1:])  # [rows, tokens, 2, kv_heads, width]
        return kv[:, :, 0].transpose(1, 2), kv[:, :, 1].transpose(1, 2)

    def _decode(
        self, layer: int, query: torch.Tensor, group: DecodeGroup, how: How
    ) -> torch.Tensor:
        rows = group.last - group.first
        keys, values = self._gather(layer, group.blocks, rows)
        mask = None
        if rows == 1:
            seen = group.columns()
            keys, values = keys[:, :, seen], values[:, :, seen]
        else:
            mask = group.mask(self._pool.block_size, query)
        folded = query.reshape(rows, keys.shape[1], -1, query.shape[-1])
        sinks = None if how.sinks is None else how.sinks.view(1, keys.shape[1], -1, 1)
        return attend(
            folded, keys, values, mask, how.scale, softcap=how.softcap, sinks=sinks
        ).reshape(rows, -1)

    def _prefill(
        self, layer: int, query: torch.Tensor, kv: torch.Tensor, chunk: Chunk, how: How
    ) -> torch.Tensor:
        heads = query.transpose(0, 1)[None]  # [1, heads, tokens, width]
        sinks = None if how.sinks is None else how.sinks.view(1, -1, 1, 1)
        both_ways = self.looks_ahead(layer)
        whole = chunk.is_whole(both_ways)
        if whole or chunk.is_plain(both_ways):
            keys, values = kv[:, 0].transpose(0, 1)[None], kv[:, 1].transpose(0, 1)[None]
            out = attend(
                heads,
                keys,
                values,
                None,
                how.scale,
                causal=not whole,
                softcap=how.softcap,
                sinks=sinks,
            )
        else:
            keys, values = self._gather(layer, chunk.blocks, 1)
            mask = chunk.mask(both_ways, self._span_windows, self._pool.block_size, query)
            out = attend(heads, keys, values, mask, how.scale, softcap=how.softcap, sinks=sinks)
        return out[0].transpose(0, 1).reshape(query.shape[0], -1)
