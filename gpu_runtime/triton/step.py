"""One step as the kernels want it: decode rows first, then chunks, in a few arrays on the
device."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..memory.pieces import Ints, pieces_read
from .configurations import PIECE


@dataclass
class DeviceStep:
    """What the attention of one table's layers needs to know of a step, whatever a layer asks of
    it."""

    singles: int
    """Rows of one token each; they are the step's first."""
    pieces: int
    """At most so many has the context of a single."""
    longest: int
    """Tokens of the longest chunk; 0: there is none."""
    tables: torch.Tensor
    """int32 [works, blocks]"""
    lengths: torch.Tensor
    """int32 [singles]: each row's context, its own token included."""
    chunks: torch.Tensor
    """int32 [chunks, 4]: the first token in the step, its position, how many there are, whether
    spans are among them."""
    spans: torch.Tensor
    """int32 [tokens]: of each token the span whose tokens see each other both ways, or -1; empty:
    the step has none."""


def build_device_step(
    starts: Ints,
    counts: Ints,
    blocks: NDArray[np.int32],
    device: torch.device,
    window: int | None,
    spans: Ints | None,
) -> DeviceStep:
    """The arguments are those of `build_metadata`. All goes over in one copy."""
    singles = int((counts == 1).sum())
    lengths = starts[:singles] + 1
    firsts = counts.cumsum()[singles:] - counts[singles:]
    marks = np.full(int(counts.sum()), -1) if spans is None else spans
    ends = zip(firsts, firsts + counts[singles:], strict=True)
    marked = np.array([(marks[first:end] >= 0).any() for first, end in ends], dtype=np.int64)
    chunks = np.stack((firsts, starts[singles:], counts[singles:], marked), axis=1)
    arrays = blocks, lengths, chunks, marks
    parts = [np.ascontiguousarray(part, dtype=np.int32) for part in arrays]
    whole = torch.from_numpy(np.concatenate([part.ravel() for part in parts])).to(device)
    pieces = zip(torch.split(whole, [part.size for part in parts]), parts, strict=True)
    tables, sizes, found, told = (piece.view(part.shape) for piece, part in pieces)
    longest = int(counts[singles:].max(initial=0))
    return DeviceStep(singles, most_pieces(lengths, window), longest, tables, sizes, found, told)


def most_pieces(lengths: Ints, window: int | None) -> int:
    """Of the contexts of decode rows."""
    return int(pieces_read(lengths, window, PIECE)[1].max(initial=0))
