"""Three-plane rotary positions (time, height, width) in plain numpy, as the Qwen families lay them out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Block(NamedTuple):
    """A picture or clip in the prompt: merged grid `height` x `width` at each of `times`, from token `start` on."""

    start: int
    times: NDArray[np.int64]
    height: int
    width: int
    advance: int
    """How far the next token's position lies behind the block's first."""

    @property
    def rows(self) -> int:
        return len(self.times) * self.height * self.width


def positions(length: int, blocks: Sequence[Block]) -> tuple[bytes, int]:
    """Positions int32 little endian [3, length], and the delta that continues them: position = index + delta."""
    out = np.empty((3, length), np.int64)
    at, position = 0, 0
    for block in blocks:
        text = block.start - at
        out[:, at : block.start] = np.arange(position, position + text)
        position += text
        time, height, width = np.meshgrid(block.times, np.arange(block.height), np.arange(block.width), indexing="ij")
        end = block.start + block.rows
        out[:, block.start : end] = np.stack([time, height, width]).reshape(3, -1) + position
        position += block.advance
        at = end
    out[:, at:] = np.arange(position, position + length - at)
    delta = int(out.max()) + 1 - length if length else 0
    return out.astype("<i4").tobytes(), delta
