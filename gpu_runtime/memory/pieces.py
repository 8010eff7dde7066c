"""A long context is read in pieces, each by a task of its own. Cuts lie at fixed positions."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def pieces_read(lengths: Ints, window: int | None, size: int) -> tuple[Ints, Ints]:
    """Of contexts of `lengths` tokens, of which the last `window` are seen: the first piece of
    `size` tokens that is read of each, and how many are."""
    firsts = np.zeros_like(lengths) if window is None else np.maximum(lengths - window, 0) // size
    return firsts, (lengths - 1) // size + 1 - firsts
