"""Rotary positions of a whole prompt, from those that the model gives to each item alone. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Block(NamedTuple):
    """An item in the prompt, from token `start` on."""

    start: int
    planes: NDArray[np.int32]
    """[P, tokens]."""
    advance: int
    """How far the next token's position lies behind the block's first."""
    anchors: NDArray[np.uint8] | None = None
    """[P, tokens], as in `Decoded`; None: all RUN."""
    ordinal: int = 0
    """How many items of its modality come before it."""

    @property
    def end(self) -> int:
        return self.start + int(self.planes.shape[1])


def compose(length: int, blocks: Sequence[Block]) -> tuple[bytes | None, int]:
    """Positions int32 little endian [P, length], and the delta that continues them: position =
    index + delta.

    Text counts on from the last item. None where there is nothing but text, which counts 0, 1, 2
    ... on every plane.
    """
    if not blocks:
        return None, 0
    out = np.empty((len(blocks[0].planes), length), np.int64)
    at, position = 0, 0
    for block in blocks:
        out[:, at : block.start] = np.arange(position, position := position + block.start - at)
        out[:, block.start : block.end] = _placed(block, position)
        position += block.advance
        at = block.end
    out[:, at:] = np.arange(position, position + length - at)
    return out.astype("<i4").tobytes(), int(out.max()) + 1 - length


def _placed(block: Block, position: int) -> NDArray[np.int64]:
    anchors = 0 if block.anchors is None else block.anchors
    planes: NDArray[np.int64] = block.planes.astype(np.int64)
    planes += np.choose(anchors, (position, 0, block.ordinal))
    return planes
