"""How one step's tokens attend: which rows are padded together, what each chunk sees. Decided on
the CPU, once a step.

The step is one flat batch: first the rows of one token each, sorted by context, then the chunks of
several tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from ...protocol.facts import SpanWindows
from ..memory.kv_pool import PADDING
from ..memory.pieces import Ints
from ..triton.step import DeviceStep, build_device_step
from .seen import InPlaceChunks, InPlaceRows

WASTE = 2
"""Rows share a padded gather while the longest reads at most this many times the blocks of the
shortest..."""
CHEAP = 16
"""... or at most this many blocks: below it a call costs more than the padding."""
CPU_CACHE_BYTES = 1 << 20
"""What one gather may copy on a CPU: it is still in the core's own cache when attention reads it. A
fourth to a fifth of attention's time, measured at contexts of 100 to 500 tokens."""


@dataclass
class DecodeGroup:
    """Rows [first, last) of the batch: one token each, what they see padded to whole blocks and to
    the longest."""

    first: int
    last: int
    lengths: Ints
    """Context of each row, its own token included."""
    begins: Ints
    """The position that each row's first column stands for: a window is read from its first block
    on."""
    blocks: torch.Tensor
    """int64 [rows * blocks], the padded block tables, flat."""
    window: int | None
    _mask: torch.Tensor | None = None
    _masked: bool = False

    def columns(self) -> slice:
        """What the only row of a group sees."""
        start = 0 if self.window is None else max(0, int(self.lengths[0]) - self.window)
        return slice(start - int(self.begins[0]), int(self.lengths[0] - self.begins[0]))

    def mask(self, block_size: int, like: torch.Tensor) -> torch.Tensor | None:
        """0 or -inf, [rows, 1, 1, tokens]; None where every row sees everything."""
        if not self._masked:
            rows = self.last - self.first
            positions = np.arange(len(self.blocks) // rows * block_size) + self.begins[:, None]
            seen = positions < self.lengths[:, None]
            if self.window is not None:
                seen &= positions >= self.lengths[:, None] - self.window
            self._mask = None if seen.all() else _additive(seen, like)[:, None, None, :]
            self._masked = True
        return self._mask


Group = DecodeGroup | InPlaceRows


@dataclass
class Chunk:
    """Tokens [first, last) of the batch: positions [start, start + last - first) of one
    sequence."""

    first: int
    last: int
    start: int
    begin: int
    """The position that the first column stands for."""
    blocks: torch.Tensor
    """int64, the sequence's blocks from `begin` up to the chunk's end."""
    window: int | None
    spans: Ints | None = None
    """Of each of its tokens the span whose tokens see each other both ways, -1: none; None: it has
    no spans."""
    _masks: dict[bool, torch.Tensor] = field(default_factory=dict)

    def is_plain(self, both_ways: bool) -> bool:
        """Nothing is cached before it, no window cuts it and no span is seen both ways: causal
        attention over its own keys."""
        causal = self.spans is None or not both_ways
        return (
            causal
            and self.start == 0
            and (self.window is None or self.last - self.first <= self.window)
        )

    def is_whole(self, both_ways: bool) -> bool:
        """Nothing is cached before it, no window cuts it and all of it is one span: each of its
        tokens sees all the others."""
        span = both_ways and self.spans is not None and bool((self.spans == 0).all())
        return (
            span
            and self.start == 0
            and (self.window is None or self.last - self.first <= self.window)
        )

    def mask(
        self, both_ways: bool, windows: SpanWindows, block_size: int, like: torch.Tensor
    ) -> torch.Tensor:
        """0 or -inf, [tokens of the chunk, tokens of the blocks]. `windows`: how far a layer's
        window reaches within a span."""
        if both_ways not in self._masks:
            columns = np.arange(len(self.blocks) * block_size) + self.begin
            rows = np.arange(self.start, self.start + self.last - self.first)[:, None]
            near = np.True_ if self.window is None else columns > rows - self.window
            seen = (columns <= rows) & near
            if both_ways and self.spans is not None:
                own = slice(self.start - self.begin, self.start - self.begin + len(rows))
                seen[:, own] |= (self.spans == self.spans[:, None]) & (self.spans >= 0)
                if windows != "none":
                    seen &= near
                if windows == "both" and self.window is not None:
                    seen &= columns < rows + self.window
            self._masks[both_ways] = _additive(seen, like)
        return self._masks[both_ways]


@dataclass
class AttentionMetadata:
    """Everything the attention of one table's layers needs to know of one step."""

    slot_mapping: torch.Tensor
    """int64 [tokens]: where each token's key and value go."""
    groups: Sequence[Group]
    chunks: list[Chunk]
    """Those whose keys and values are to be gathered, at least in some layers."""
    in_place: InPlaceChunks | None = None
    """All chunks, where they are to be read in place."""
    on_device: DeviceStep | None = None
    """In place of all three, for kernels on the device."""

    @property
    def has_no_chunks(self) -> bool:
        return not self.chunks and self.in_place is None


def build_metadata(
    starts: Ints,
    counts: Ints,
    blocks: NDArray[np.int32],
    slot_mapping: Ints,
    block_size: int,
    device: torch.device,
    most: int | None = None,
    window: int | None = None,
    spans: Ints | None = None,
    in_place: bool = False,
    on_device: bool = False,
) -> AttentionMetadata:
    """`starts`, `counts` per work; `blocks` [works, blocks] of one table, padded; works of one
    token first, by falling `starts`.

    `in_place`: keys and values are read where their blocks lie; `on_device`: by kernels there.
    `most`: blocks that decode rows may gather at once, where that is limited. `window`: tokens that
    the table's layers look back; blocks behind it are not read, whatever `blocks` says of them.
    `spans` [tokens]: see `Chunk.spans`.
    """
    places = torch.from_numpy(slot_mapping).to(device)
    if on_device:
        kernels = build_device_step(starts, counts, blocks, device, window, spans)
        return AttentionMetadata(places, (), [], on_device=kernels)
    ends = (starts + counts + block_size - 1) // block_size
    begins = (
        np.zeros_like(starts)
        if window is None
        else np.maximum(starts - window + 1, 0) // block_size
    )
    singles = int((counts == 1).sum())
    groups: Sequence[Group] = ()
    if in_place and singles:
        groups = (InPlaceRows(blocks[:singles], starts[:singles] + 1, window),)
    elif singles:
        groups = _padded(
            starts[:singles],
            blocks[:singles],
            begins[:singles],
            ends[:singles],
            block_size,
            device,
            most,
            window,
        )
    read: InPlaceChunks | None = None
    if in_place and singles < len(counts):
        own = None if spans is None else spans[singles:]
        read = InPlaceChunks(
            singles, starts[singles:], counts[singles:], blocks[singles:], window, own
        )
    gathered = range(singles, len(counts) if read is None or read.has_gaps else singles)
    chunks = _chunks(
        gathered, starts, counts, blocks, begins, ends, block_size, device, window, spans
    )
    return AttentionMetadata(places, groups, chunks, read)


def _chunks(
    works: range, starts: Ints, counts: Ints, blocks: NDArray[np.int32], begins: Ints, ends: Ints,
    block_size: int,
    device: torch.device, window: int | None, spans: Ints | None,
) -> list[Chunk]:  # fmt: skip
    """Of `works`, which follow those of one token; `begins`, `ends`: as of rows in `_padded`."""
    chunks: list[Chunk] = []
    position = works.start
    for work in works:
        end, start, before = position + int(counts[work]), int(starts[work]), int(begins[work])
        gathered = torch.from_numpy(blocks[work, before : ends[work]].astype(np.int64)).to(device)
        own = None if spans is None or (spans[position:end] < 0).all() else spans[position:end]
        chunks.append(Chunk(position, end, start, before * block_size, gathered, window, own))
        position = end
    return chunks


def _padded(
    starts: Ints, blocks: NDArray[np.int32], begins: Ints, ends: Ints, block_size: int,
    device: torch.device, most: int | None,
    window: int | None,
) -> list[DecodeGroup]:  # fmt: skip
    """`begins`, `ends`: the first block that each row sees, and the one after its last."""
    widths = ends - begins
    if window is not None:  # where a window begins in its block makes a difference of one
        widths = np.maximum.accumulate(widths[::-1])[::-1]
    groups: list[DecodeGroup] = []
    for first, last in group_rows(widths, most):
        part = _columns(
            blocks[first:last], begins[first:last], ends[first:last], int(widths[first])
        )
        lengths, begin = starts[first:last] + 1, begins[first:last] * block_size
        groups.append(
            DecodeGroup(
                first, last, lengths, begin, torch.from_numpy(part.ravel()).to(device), window
            )
        )
    return groups


def _columns(blocks: NDArray[np.int32], begins: Ints, ends: Ints, width: int) -> Ints:
    """[rows, width]: of each row the blocks [begin, end), then padding."""
    if not begins.any():
        return blocks[:, :width].astype(np.int64)
    columns = begins[:, None] + np.arange(width)
    found = np.take_along_axis(blocks, columns.clip(max=blocks.shape[1] - 1), axis=1)
    return np.where(columns < ends[:, None], found, PADDING).astype(np.int64)


def group_rows(blocks: Ints, most: int | None = None) -> list[tuple[int, int]]:
    """Cut rows with falling numbers of blocks into runs [first, last) that are worth padding
    together and, padded, have at most `most` blocks (or are one row)."""
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
