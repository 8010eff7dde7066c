"""How something grows with time or with work, by a fit that single jumps and noise do not move.
Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

POINTS = 400
"""Samples that are fitted; of more, as many at even distances."""
CONFIDENCE = 3.29
"""Standard deviations: 999 of 1,000 slopes that chance alone would give lie within."""


class Trend(NamedTuple):
    """A line through samples: the median of the slopes of all their pairs (Theil and Sen)."""

    slope: float
    """Per unit of `x`."""
    low: float
    high: float
    """Between which the true slope lies."""
    growth: float
    """Over the whole of `x`, along the line."""
    last: float
    """The last sample."""


def trend(x: Sequence[float], y: Sequence[float]) -> Trend:
    """`x` rises. Fewer than three samples, or an `x` that stands still, have no slope: it is 0."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).astype(int))
    xs, ys = np.asarray(x, float)[kept], np.asarray(y, float)[kept]
    first, second = np.triu_indices(len(xs), 1)
    steps = xs[second] - xs[first]
    moved = steps > 0
    slopes = np.sort((ys[second] - ys[first])[moved] / steps[moved])
    if len(xs) < 3 or not len(slopes):
        return Trend(0.0, 0.0, 0.0, 0.0, float(ys[-1]) if len(ys) else 0.0)
    spread = CONFIDENCE * (len(xs) * (len(xs) - 1) * (2 * len(xs) + 5) / 18) ** 0.5
    low = max(0, round((len(slopes) - spread) / 2))
    high = min(len(slopes) - 1, round((len(slopes) + spread) / 2))
    slope = float(np.median(slopes))
    return Trend(
        slope, float(slopes[low]), float(slopes[high]), slope * float(xs[-1] - xs[0]), float(ys[-1])
    )
