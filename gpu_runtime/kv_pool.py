"""The memory of the KV cache. Who holds which block is the scheduler's business; here are only the bytes."""

import math
import mmap

import torch


class KvPool:
    """Per layer [blocks + 1, block_size, 2 (key, value), kv_heads, head_dim].

    Block `padding` (the last) is never written: short rows of a padded gather point at it. The pool never holds a
    non-finite number after a step, because a masked position still multiplies: weight 0 times NaN is NaN.
    """

    def __init__(
        self, layers: int, blocks: int, block_size: int, kv_heads: int, head_dim: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (layers, blocks + 1, block_size, 2, kv_heads, head_dim)
        whole = _zero_pages(shape, dtype) if device.type == "cpu" else torch.zeros(shape, dtype=dtype, device=device)
        self.padding = blocks
        self.block_size = block_size
        self.blocks: list[torch.Tensor] = list(whole.unbind(0))
        """Per layer, by block."""
        self.slots: list[torch.Tensor] = [layer.flatten(0, 1) for layer in self.blocks]
        """Per layer, by slot = block * block_size + offset: [slots, 2, kv_heads, head_dim]."""

    def blocks_in(self, nbytes: int) -> int:
        """How many blocks of one layer fit into so many bytes."""
        block = self.blocks[0][0]
        return nbytes // (block.numel() * block.itemsize)

    def clear(self, slots: torch.Tensor) -> None:
        """Zero what a faulty sequence wrote: its blocks go to others, who mask what they have not written yet."""
        for layer in self.slots:
            layer.index_fill_(0, slots, 0)


def _zero_pages(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Zeros whose pages cost nothing until they are first written."""
    nbytes = math.prod(shape) * dtype.itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    return torch.frombuffer(mmap.mmap(-1, nbytes, flags=flags), dtype=dtype).view(shape)
