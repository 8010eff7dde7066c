"""Three-plane rotary positions (time, height, width) in plain numpy, as the Qwen families lay them out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Block(NamedTuple):
    """A picture or clip in the prompt, from token `start` on."""

    start: int
    planes: NDArray[np.int64]
    """[3, tokens], counted from where the block begins."""
    advance: int
    """How far the next token's position lies behind the block's first."""


def planes(times: NDArray[np.int64], height: int, width: int) -> NDArray[np.int64]:
    """[3, rows] of a merged grid `height` x `width` at each of `times`."""
    grid = np.meshgrid(times, np.arange(height), np.arange(width), indexing="ij")
    return np.stack(grid).reshape(3, -1)


def positions(length: int, blocks: Sequence[Block]) -> tuple[bytes, int]:
    """Positions int32 little endian [3, length], and the delta that continues them: position = index + delta."""
    out = np.empty((3, length), np.int64)
    at, position = 0, 0
    for block in blocks:
        text = block.start - at
        out[:, at : block.start] = np.arange(position, position + text)
        position += text
        end = block.start + block.planes.shape[1]
        out[:, block.start : end] = block.planes + position
        position += block.advance
        at = end
    out[:, at:] = np.arange(position, position + length - at)
    delta = int(out.max()) + 1 - length if length else 0
    return out.astype("<i4").tobytes(), delta
