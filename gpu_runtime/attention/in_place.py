"""Attention on a CPU by the native kernels: keys and values are read from their blocks, without a
copy of them."""

import ctypes

import torch

from ..layers.how import How
from ..memory.kv_pool import KvPool
from ..native.library import Attention, Kernel, Kernels
from .seen import InPlaceRows, SeenByChunks

KNOWN = (torch.float32, torch.bfloat16)
LANES = 16
"""A head's width is a multiple of the widest vectors'."""
TILE = 16
"""Tokens whose scores are made together; each thread has room for them."""
WORTH_ALL_THREADS = 1 << 25
"""Multiplications of queries and keys that are worth more threads than a small model has: a
millisecond of one. Tasks are handed out as they come, so a thread that a neighbour holds up takes
few."""


class InPlace:
    """Attention of decode rows, and of chunks of prompts, over the blocks of a pool."""

    def __init__(self, kernels: Kernels, pool: KvPool) -> None:
        self._kernels = kernels
        self._pool = pool
        self._calls = {
            layer: _call(blocks, pool.block_size)
            for layer, blocks in pool.blocks.items()
            if _fits(blocks)
        }
        """What a layer's calls have in common; the rest is written at each."""
        self._scratch = torch.empty(0)
        """What tasks leave for each other; kept between steps, because fresh megabytes fault in
        page by page."""

    def covers(self, table: int) -> bool:
        """Whether all layers of a table can be read in place."""
        return all(
            layer in self._calls for layer, number in self._pool.table_of.items() if number == table
        )

    def rows(
        self, layer: int, query: torch.Tensor, rows: InPlaceRows, how: How, out: torch.Tensor
    ) -> None:
        """`query` [tokens of the step, heads, width] into the rows' part of `out` [tokens, heads *
        width]."""
        _, heads, width = query.shape
        threads = torch.get_num_threads() if rows.is_long else 1  # they change from layer to layer
        call = self._calls[layer]
        call.rows, call.window = ctypes.addressof(rows.struct), how.window or 0
        room = len(rows.tasks) * _whole_lines(heads * (width + LANES + 1)) + threads * _whole_lines(
            heads * (width + TILE)
        )
        self._run(self._kernels.attend, call, query, how, out, rows.first, threads, room)

    def chunks(
        self,
        layer: int,
        query: torch.Tensor,
        seen: SeenByChunks,
        how: How,
        out: torch.Tensor,
        at_least: int = 0,
    ) -> None:
        """`query` [tokens of the step, heads, width] into the chunks' part of `out` [tokens, heads
        * width]; windows are in `seen`. `at_least`: threads, where it takes so long that they never
        wait in vain."""
        threads = torch.get_num_threads() if seen.is_long else 1
        if seen.pairs * query.shape[1] * query.shape[2] > WORTH_ALL_THREADS:
            threads = max(threads, at_least)
        call = self._calls[layer]
        call.chunks = ctypes.addressof(seen.struct)
        room = threads * self._kernels.chunk_floats(query.shape[-1])
        self._run(self._kernels.attend_chunks, call, query, how, out, seen.first, threads, room)

    def _run(
        self, kernel: Kernel, call: Attention, query: torch.Tensor, how: How, out: torch.Tensor,
        first: int, threads: int,
        room: int,
    ) -> None:  # fmt: skip
        """`first`: of the step's tokens. `room`: floats of scratch memory."""
        row_stride, head_stride, stride = query.stride()
        if stride != 1:
            query = query.contiguous()
            row_stride, head_stride, _ = query.stride()
        assert out.is_contiguous()
        sinks = None if how.sinks is None else how.sinks.float().contiguous()
        call.query = query.data_ptr() + first * row_stride * query.itemsize
        call.out = out.data_ptr() + first * out.shape[1] * out.itemsize
        call.threads = threads
        call.sinks = None if sinks is None else sinks.data_ptr()
        call.row_stride, call.head_stride, call.heads = row_stride, head_stride, query.shape[1]
        call.scale, call.softcap = how.scale, how.softcap or 0.0
        if self._scratch.numel() < room:
            self._scratch = torch.empty(2 * room)
        call.scratch = self._scratch.data_ptr()
        kernel(call)


def _whole_lines(floats: int) -> int:
    return -(-floats // 16) * 16


def _fits(blocks: torch.Tensor) -> bool:
    known = blocks.dtype in KNOWN and blocks.device.type == "cpu"
    return known and blocks.shape[-1] % LANES == 0


def _call(blocks: torch.Tensor, block_size: int) -> Attention:
    return Attention(
        pool=blocks.data_ptr(), kv_heads=blocks.shape[-2], width=blocks.shape[-1],
        block_size=block_size,
        is_bf16=blocks.dtype == torch.bfloat16,
    )  # fmt: skip
