"""Attention of whole steps over the blocks of a pool, by the kernels: one launch for decode rows,
one for all chunks."""

from types import ModuleType
from typing import Any

import torch

from ...protocol.facts import SpanWindows
from ..layers.how import How
from ..memory.kv_pool import KvPool
from .configurations import WIDEST, decode_form, merge_form, prefill_form
from .step import DeviceStep

DTYPES = (torch.bfloat16, torch.float16)


class TritonKernels:
    """The kernels of this process."""

    def __init__(self, module: ModuleType, dtypes: tuple[torch.dtype, ...] = DTYPES) -> None:
        """`module`: `kernels.py`. `dtypes`: of the pools that they read; the interpreter can read
        others."""
        self.decode: Any = module.decode_kernel
        self.merge: Any = module.merge_kernel
        self.prefill: Any = module.prefill_kernel
        self.dtypes = dtypes


class OnDevice:
    """Attention over the blocks of one pool."""

    def __init__(
        self, kernels: TritonKernels, pool: KvPool, span_windows: SpanWindows = "behind"
    ) -> None:
        self._kernels = kernels
        self._pool = pool
        self._span_windows = span_windows
        self._merged: set[tuple[Any, ...]] = set()
        """Layers whose pieces have been merged once, needed or not: nothing is compiled later, when
        a context gets longer."""

    def covers(self, table: int) -> bool:
        """Whether the kernels know all layers of a table."""
        layers = [layer for layer, number in self._pool.table_of.items() if number == table]
        kept = [self._pool.blocks[layer] for layer in layers]
        known = self._kernels.dtypes
        return all(blocks.dtype in known and blocks.shape[-1] <= WIDEST for blocks in kept)

    def __call__(
        self, layer: int, query: torch.Tensor, step: DeviceStep, how: How, both_ways: bool = False
    ) -> torch.Tensor:
        """`query` [tokens, heads, width] of the whole step to [tokens, heads * width]. Its keys and
        values are in the pool.

        `both_ways`: tokens of a span see each other.
        """
        _, heads, width = query.shape
        if query.stride(2) != 1 or query.stride(1) != width:
            query = query.contiguous()
        out = query.new_empty((query.shape[0], heads * width))
        if step.singles:
            self._decode(layer, query, out, step, how)
        if step.longest:
            self._prefill(layer, query, out, step, how, both_ways)
        return out

    def _decode(
        self, layer: int, query: torch.Tensor, out: torch.Tensor, step: DeviceStep, how: How
    ) -> None:
        _, heads, width = query.shape
        pool, rows, pieces = self._pool.blocks[layer], step.singles, step.pieces
        kv_heads = pool.shape[-2]
        parts = torch.empty((rows, pieces, heads, width), dtype=torch.float32, device=query.device)
        tops = torch.empty((rows, pieces, heads), dtype=torch.float32, device=query.device)
        self._kernels.decode[rows, kv_heads, pieces](
            out, parts, tops, query, pool, step.tables, step.lengths, _sinks(how, query), how.scale,
            query.stride(0), step.tables.stride(0), self._pool.block_size,
            **decode_form(heads, kv_heads, width, how),
        )  # fmt: skip
        kind = (heads, width, how.window)
        if pieces > 1 or kind not in self._merged:
            self._merged.add(kind)
            form = merge_form(heads, width, how)
            self._kernels.merge[rows, heads](out, parts, tops, step.lengths, pieces, **form)

    def _prefill(
        self,
        layer: int,
        query: torch.Tensor,
        out: torch.Tensor,
        step: DeviceStep,
        how: How,
        both_ways: bool,
    ) -> None:
        _, heads, width = query.shape
        pool, tables = self._pool.blocks[layer], step.tables[step.singles :]
        kv_heads = pool.shape[-2]
        form = prefill_form(heads, kv_heads, width, how, self._span_windows if both_ways else None)
        tiles = -(-step.longest // (form["ROWS"] // form["GROUP"]))
        self._kernels.prefill[tiles, len(step.chunks), kv_heads](
            out, query, pool, tables, step.chunks, step.spans, _sinks(how, query), how.scale,
            query.stride(0), tables.stride(0), self._pool.block_size, **form,
        )  # fmt: skip


def _sinks(how: How, like: torch.Tensor) -> torch.Tensor:
    """float32 [heads]; without any, what no kernel looks at."""
    return how.sinks.float().contiguous() if how.sinks is not None else like
