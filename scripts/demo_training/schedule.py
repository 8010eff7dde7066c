"""How the learning rate runs, and which outer measures a batch gets."""

import math

import numpy as np

from .samples import Frame
from .sounds import RATE

WARM_UP = 60  # steps


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up, level for the first half, then a cosine down to a fiftieth."""
    if step < WARM_UP:
        return peak * (step + 1) / WARM_UP
    part = max(0.0, step / max(1, steps) - 0.5) * 2
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, part))))


def random_frame(rng: np.random.Generator, foreign: float = 0.3) -> Frame:
    """Mostly the trained size; a `foreign` share has other sizes and proportions, as users' pictures have."""
    width = height = 84
    if rng.random() < foreign:
        short = int(rng.integers(64, 260))
        long = int(short * float(rng.choice([1.0, 1.0, 1.05, 1.2, 4 / 3, 4 / 3, 1.5, 1.6, 16 / 9])))
        width, height = (long, short) if rng.random() < 0.65 else (short, long)
    return Frame(width, height, int(rng.integers(4, 9)), int(rng.integers(RATE, 2 * RATE + 1)))
