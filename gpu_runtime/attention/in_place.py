"""Decode rows on a CPU by the native kernels: keys and values are read from their blocks, without a copy of them."""

import ctypes
import logging

import numpy as np
import torch
from numpy.typing import NDArray

from ...protocol.facts import KvGroup, KvTable
from ..kv_pool import KvPool
from ..native.library import Attention, Kernels, Rows, load_kernels
from .how import How
from .scores import attend

log = logging.getLogger(__name__)
PIECE = 256
"""Tokens of a context that one task reads. Cuts lie at fixed positions, so a row's result is the same in every company."""
WORTH_THREADS = 1024
"""Tokens that all rows see together; fewer are read before other threads have woken."""
_KNOWN = (torch.float32, torch.bfloat16)
LANES = 16
"""A head's width is a multiple of the widest vectors'."""


class InPlaceRows:
    """The first rows of a step, one token each, and the pieces of their contexts."""

    first = 0

    def __init__(self, tables: NDArray[np.int32], lengths: NDArray[np.int64], window: int | None) -> None:
        """`tables` [rows, blocks] of contexts of `lengths` tokens, the row's own included, of which the last `window` are
        seen; blocks behind are not looked at."""
        begins = np.zeros_like(lengths) if window is None else np.maximum(lengths - window, 0)
        pieces = (lengths - 1) // PIECE + 1 - begins // PIECE
        firsts = np.concatenate((np.zeros(1, dtype=np.int64), pieces.cumsum()))
        rows = np.repeat(np.arange(len(lengths)), pieces)
        starts = (np.arange(len(rows)) - firsts[rows] + begins[rows] // PIECE) * PIECE
        self.tables = np.ascontiguousarray(tables)
        self.lengths = lengths.astype(np.int32)
        self.tasks = np.stack((rows, starts), axis=1).astype(np.int32)
        """[tasks, 2]: a row, and the first position of a piece of its context."""
        self.firsts = firsts.astype(np.int32)
        """[rows + 1]: the first task of each row."""
        self.is_long = int((lengths - begins).sum()) > WORTH_THREADS
        """It is worth several threads."""
        self.struct = Rows(
            *(each.ctypes.data for each in (self.tables, self.lengths, self.tasks, self.firsts)),
            tables.shape[1], len(lengths), len(self.tasks), PIECE,
        )  # fmt: skip
        """The same for the kernels; it points into the arrays."""

    @property
    def last(self) -> int:
        return len(self.lengths)


class InPlace:
    """Attention of decode rows over the blocks of a pool."""

    def __init__(self, kernels: Kernels, pool: KvPool) -> None:
        self._attend = kernels.attend
        self._pool = pool
        self._calls = {layer: _call(blocks, pool.block_size) for layer, blocks in pool.blocks.items() if _fits(blocks)}
        """What a layer's calls have in common; the rest is written at each."""
        self._scratch = torch.empty(0)
        """What tasks leave for each other; kept between steps, because fresh megabytes fault in page by page."""

    def covers(self, table: int) -> bool:
        """Whether all layers of a table can be read in place."""
        return all(layer in self._calls for layer, number in self._pool.table_of.items() if number == table)

    def __call__(self, layer: int, query: torch.Tensor, rows: InPlaceRows, how: How) -> torch.Tensor:
        """`query` [rows, heads, width] to [rows, heads * width]."""
        row_stride, head_stride, stride = query.stride()
        if stride != 1:
            query = query.contiguous()
            row_stride, head_stride, _ = query.stride()
        count, heads, width = query.shape
        out = query.new_empty((count, heads * width))
        sinks = None if how.sinks is None else how.sinks.float().contiguous()
        threads = torch.get_num_threads() if rows.is_long else 1  # they change from layer to layer
        call = self._calls[layer]
        call.rows, call.query, call.out = ctypes.addressof(rows.struct), query.data_ptr(), out.data_ptr()
        call.sinks = None if sinks is None else sinks.data_ptr()
        call.row_stride, call.head_stride, call.heads, call.threads = row_stride, head_stride, heads, threads
        call.scratch = self._room((len(rows.tasks) * (width + 2) + threads * width) * heads)
        call.window, call.scale, call.softcap = how.window or 0, how.scale, how.softcap or 0.0
        self._attend(call)
        return out

    def _room(self, floats: int) -> int:
        if self._scratch.numel() < floats:
            self._scratch = torch.empty(2 * floats)
        return self._scratch.data_ptr()


def usable_kernels(dtype: torch.dtype) -> Kernels | None:
    """Those of this machine; None, after one line in the log, where there are none or they are not right."""
    kernels = load_kernels()
    if kernels is not None and dtype in _KNOWN and not are_right(kernels, dtype):
        log.warning("torch's own operations are used in place of native kernels: here they give other numbers")
        return None
    return kernels


def are_right(kernels: Kernels, dtype: torch.dtype) -> bool:
    """Whether they give what torch gives, on this processor and as this compiler made them: three rows, of which one is cut."""
    lengths, size, width, per = np.array([1, 40, PIECE + 45]), 16, 64, (PIECE + 45) // 16 + 1
    group = KvGroup(layers=(0,), kv_heads=2, key_dim=width, value_dim=width)
    pool = KvPool([KvTable(None, (group,))], [1 + len(lengths) * per], size, dtype, torch.device("cpu"))
    dice = torch.Generator().manual_seed(0)
    pool.blocks[0].copy_(torch.randn(pool.blocks[0].shape, generator=dice))
    tables = 1 + np.arange(len(lengths) * per, dtype=np.int32).reshape(len(lengths), per)
    query = torch.randn(len(lengths), 6, width, generator=dice).to(dtype)
    close = 1e-4 if dtype == torch.float32 else 3e-2
    for how in (How(0.125), How(0.125, window=20), How(0.2, softcap=5.0, sinks=torch.linspace(-1, 1, 6))):
        found = InPlace(kernels, pool)(0, query, InPlaceRows(tables, lengths, how.window), how)
        for row, length in enumerate(lengths.tolist()):
            kv = pool.blocks[0][tables[row].tolist()].flatten(0, 1)[:length].float()[-(how.window or length) :]
            keys, values = (kv[None, :, part].transpose(1, 2) for part in (0, 1))
            sinks = None if how.sinks is None else how.sinks.view(1, -1, 1, 1)
            right = attend(query[row, None, :, None].float(), keys, values, None, how.scale, softcap=how.softcap, sinks=sinks)
            if not bool(((found[row].float() - right.flatten()).abs() <= close).all()):
                return False
    return True


def _fits(blocks: torch.Tensor) -> bool:
    known = blocks.dtype in _KNOWN and blocks.device.type == "cpu"
    return known and blocks.shape[-1] % LANES == 0


def _call(blocks: torch.Tensor, block_size: int) -> Attention:
    return Attention(
        pool=blocks.data_ptr(), kv_heads=blocks.shape[-2], width=blocks.shape[-1], block_size=block_size,
        is_bf16=blocks.dtype == torch.bfloat16,
    )  # fmt: skip
