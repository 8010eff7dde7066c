"""How one step's tokens attend: which rows are padded together, what each chunk sees. Decided on the CPU, once a step.

The step is one flat batch: first the rows of one token each, sorted by context, then the chunks of several tokens.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

Ints = NDArray[np.int64]
WASTE = 2
"""Rows share a padded gather while the longest reads at most this many times the blocks of the shortest..."""
CHEAP = 16
"""... or at most this many blocks: below it a call costs more than the padding."""
CPU_CACHE_BYTES = 1 << 20
"""What one gather may copy on a CPU: it is still in the core's own cache when attention reads it. A fourth to a fifth of
attention's time, measured at contexts of 100 to 500 tokens."""


@dataclass
class DecodeGroup:
    """Rows [first, last) of the batch: one token each, contexts padded to whole blocks and to the longest."""

    first: int
    last: int
    lengths: Ints
    """Context of each row, its own token included."""
    blocks: torch.Tensor
    """int64 [rows * blocks], the padded block tables, flat."""
    masks: dict[int | None, torch.Tensor | None] = field(default_factory=dict)
    """By sliding window: 0 or -inf, [rows, 1, 1, tokens]; None where every row sees everything."""

    def mask(self, window: int | None, block_size: int, like: torch.Tensor) -> torch.Tensor | None:
        if window not in self.masks:
            rows = self.last - self.first
            columns = np.arange(len(self.blocks) // rows * block_size)
            seen = columns < self.lengths[:, None]
            if window is not None:
                seen &= columns >= self.lengths[:, None] - window
            self.masks[window] = None if seen.all() else _additive(seen, like)[:, None, None, :]
        return self.masks[window]


@dataclass
class Chunk:
    """Tokens [first, last) of the batch: positions [start, start + last - first) of one sequence."""

    first: int
    last: int
    start: int
    blocks: torch.Tensor
    """int64, the sequence's blocks up to the chunk's end."""
    masks: dict[int | None, torch.Tensor] = field(default_factory=dict)
    """By sliding window: 0 or -inf, [tokens of the chunk, tokens of the blocks]."""

    def whole(self, window: int | None) -> bool:
        """Nothing is cached before it and no window cuts it: plain causal attention over its own keys."""
        return self.start == 0 and (window is None or self.last - self.first <= window)

    def mask(self, window: int | None, block_size: int, like: torch.Tensor) -> torch.Tensor:
        if window not in self.masks:
            columns = np.arange(len(self.blocks) * block_size)
            rows = np.arange(self.start, self.start + self.last - self.first)[:, None]
            seen = columns <= rows
            if window is not None:
                seen &= columns > rows - window
            self.masks[window] = _additive(seen, like)
        return self.masks[window]


@dataclass
class StepLayout:
    """Everything attention needs to know of one step."""

    slots: torch.Tensor
    """int64 [tokens]: where each token's key and value go."""
    groups: list[DecodeGroup]
    chunks: list[Chunk]


def lay_out(
    starts: Ints,
    counts: Ints,
    tables: NDArray[np.int32],
    slots: Ints,
    block_size: int,
    device: torch.device,
    most: int | None = None,
) -> StepLayout:
    """`starts`, `counts` per work; `tables` [works, blocks], padded; works of one token first, by falling `starts`.

    `most`: blocks that decode rows may gather at once, where that is limited.
    """
    needed = (starts + counts + block_size - 1) // block_size
    singles = int((counts == 1).sum())
    groups: list[DecodeGroup] = []
    for first, last in group_rows(needed[:singles], most):
        blocks = tables[first:last, : needed[first]].astype(np.int64).ravel()
        groups.append(DecodeGroup(first, last, starts[first:last] + 1, torch.from_numpy(blocks).to(device)))
    chunks: list[Chunk] = []
    position = singles
    for work in range(singles, len(counts)):
        end = position + int(counts[work])
        blocks = tables[work, : needed[work]].astype(np.int64)
        chunks.append(Chunk(position, end, int(starts[work]), torch.from_numpy(blocks).to(device)))
        position = end
    return StepLayout(torch.from_numpy(slots).to(device), groups, chunks)


def group_rows(blocks: Ints, most: int | None = None) -> list[tuple[int, int]]:
    """Cut rows with falling numbers of blocks into runs [first, last) that are worth padding together and, padded, have at
    most `most` blocks (or are one row)."""
    runs: list[tuple[int, int]] = []
    first = 0
    while first < len(blocks):
        widest = int(blocks[first])
        last = len(blocks)
        if widest > CHEAP:
            enough = blocks[first:] * WASTE >= widest
            last = first + (len(enough) if enough.all() else int(enough.argmin()))
        runs += _pieces(first, last, last - first if most is None else max(1, most // widest))
        first = last
    return runs


def _pieces(first: int, last: int, size: int) -> list[tuple[int, int]]:
    """[first, last) in as few pieces of at most `size` as there can be, all about as long."""
    count = -(-(last - first) // size)
    edges = [first + (last - first) * piece // count for piece in range(count + 1)]
    return list(pairwise(edges))


def _additive(seen: NDArray[np.bool_], like: torch.Tensor) -> torch.Tensor:
    mask = np.where(seen, np.float32(0), np.float32(-np.inf))
    return torch.from_numpy(mask).to(device=like.device, dtype=like.dtype)
