"""How near vectors are to each other, and which are the nearest. Pure."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.float64]]


def cosines(
    pairs: Sequence[tuple[int, int]], first: Sequence[bytes], second: Sequence[bytes]
) -> list[float]:
    """Of vectors, float32 little endian: from -1 to 1; 0 where one of them has no direction."""
    return [_cosine(_numbers(first[one]), _numbers(second[other])) for one, other in pairs]


def _numbers(vector: bytes) -> Numbers:
    return np.frombuffer(vector, "<f4").astype(np.float64)


def _cosine(one: Numbers, other: Numbers) -> float:
    length = float(np.sqrt(one @ one) * np.sqrt(other @ other))
    return max(-1.0, min(1.0, float(one @ other) / length)) if length else 0.0


def ranked(scores: Sequence[float], most: int | None) -> list[int]:
    """The places of the best `most` (None: of all), the best first, of equals the earlier."""
    return sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:most]
