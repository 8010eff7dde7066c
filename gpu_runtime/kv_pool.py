"""The memory of the KV cache. Who holds which block is the scheduler's business; here are only the bytes."""

import math
import mmap
from collections.abc import Iterable

import torch

from ..protocol.facts import KvGroup


class KvPool:
    """Per layer [blocks + 1, block_size, 2 (key, value), kv_heads, width]; layers of one group have one shape.

    Block `padding` (the last) is never written: short rows of a padded gather point at it. The pool never holds a
    non-finite number after a step, because a masked position still multiplies: weight 0 times NaN is NaN.
    """

    def __init__(
        self, groups: Iterable[KvGroup], blocks: int, block_size: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.padding = blocks
        self.block_size = block_size
        self.blocks: dict[int, torch.Tensor] = {}
        """By layer, then by block."""
        for group in groups:
            shape = (len(group.layers), blocks + 1, block_size, 2, group.kv_heads, group.width)
            whole = _zero_pages(shape, dtype) if device.type == "cpu" else torch.zeros(shape, dtype=dtype, device=device)
            self.blocks |= zip(group.layers, whole.unbind(0), strict=True)
        self.slots: dict[int, torch.Tensor] = {layer: whole.flatten(0, 1) for layer, whole in self.blocks.items()}
        """By layer, then by slot = block * block_size + offset: [slots, 2, kv_heads, width]."""
        self._block_bytes = max(whole[0].numel() * whole.itemsize for whole in self.blocks.values())

    def blocks_in(self, nbytes: int) -> int:
        """How many blocks of the layer with the largest ones fit into so many bytes."""
        return nbytes // self._block_bytes

    def clear(self, slots: torch.Tensor) -> None:
        """Zero what a faulty sequence wrote: its blocks go to others, who mask what they have not written yet."""
        for layer in self.slots.values():
            layer.index_fill_(0, slots, 0)


def _zero_pages(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Zeros whose pages cost nothing until they are first written."""
    nbytes = math.prod(shape) * dtype.itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    return torch.frombuffer(mmap.mmap(-1, nbytes, flags=flags), dtype=dtype).view(shape)
