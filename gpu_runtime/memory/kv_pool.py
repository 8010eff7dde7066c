"""The memory of the KV cache. Who holds which block is the scheduler's business; here are only the
bytes."""

import math
import mmap
from collections.abc import Sequence
from contextlib import suppress

import torch

from ...protocol.edges.scheduler_to_gpu_runner import PADDING
from ...protocol.facts import KvTable

__all__ = ["PADDING", "KvPool"]  # to PADDING, short rows of a padded gather point, too


class KvPool:
    """Per layer [blocks, block_size, 2 (key, value), kv_heads, width]; layers of one table have
    equally many blocks.

    The pool never holds a non-finite number after a step, because a masked position still
    multiplies: weight 0 times NaN is NaN.
    """

    def __init__(
        self,
        tables: Sequence[KvTable],
        blocks: Sequence[int],
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """`blocks`: of each table, the padding block among them."""
        self.block_size = block_size
        self.tables = tuple(tables)
        self._groups: list[list[torch.Tensor]] = [[] for _ in tables]
        """By table, of layers that are alike: [layers, blocks, ...]."""
        self.table_of: dict[int, int] = {}
        """By layer: which table its blocks are counted in."""
        self.blocks: dict[int, torch.Tensor] = {}
        """By layer, then by block."""
        self.readers: frozenset[int] = frozenset(
            layer for table in tables for group in table.groups for layer in group.readers
        )
        """Layers that write nothing: what `blocks` has for them is another's, which has written it
        before them."""
        for number, table in enumerate(tables):
            for group in table.groups:
                each = (blocks[number], block_size, 2, group.kv_heads, group.width)
                whole = _zeros((len(group.layers), *each), dtype, device)
                self._groups[number].append(whole)
                self.blocks |= zip(group.layers, whole.unbind(0), strict=True)
                self.blocks |= {layer: self.blocks[owner] for layer, owner in group.readers.items()}
                self.table_of |= dict.fromkeys((*group.layers, *group.readers), number)
        self.slots: dict[int, torch.Tensor] = {
            layer: whole.flatten(0, 1) for layer, whole in self.blocks.items()
        }
        """By layer, then by slot = block * block_size + offset: [slots, 2, kv_heads, width]."""

    def blocks_in(self, nbytes: int | None) -> list[int | None]:
        """By table: how many blocks of its layer with the largest ones fit into so many bytes;
        None: any number."""
        if nbytes is None:
            return [None] * len(self.tables)
        owners = [
            [layer for group in table.groups for layer in group.layers] for table in self.tables
        ]
        return [nbytes // max(self.blocks[layer][0].nbytes for layer in each) for each in owners]

    def copy(self, table: int, source: int, target: int, tokens: int) -> None:
        """The first `tokens` of a block into another, in all layers."""
        for whole in self._groups[table]:
            whole[:, target, :tokens] = whole[:, source, :tokens]

    def clear(self, table: int, slots: torch.Tensor) -> None:
        """Zero what a faulty sequence wrote: its blocks go to others, who mask what they have not
        written yet."""
        for layer, number in self.table_of.items():
            if number == table:
                self.slots[layer].index_fill_(0, slots, 0)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """On a CPU their pages cost nothing until they are first written, and are of 2 MiB where the
    system has such: attention goes from block to block, and finding a small page takes as long as
    reading a quarter of it."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    nbytes = math.prod(shape) * dtype.itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    memory = mmap.mmap(-1, nbytes, flags=flags)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(shape)
