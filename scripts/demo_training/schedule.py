"""How the learning rate runs, and which outer measures a batch gets."""

import math

import numpy as np

from .samples import Frame
from .sounds import RATE

WARM_UP = 60  # steps


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up, then as `cooled` says."""
    return peak * min(1.0, (step + 1) / WARM_UP) * cooled(step / max(1, steps))


def cooled(part: float) -> float:
    """The share of the peak rate after this part of the training: level for three tenths, then a
    cosine to a fiftieth."""
    late = min(1.0, max(0.0, part - 0.3) / 0.7)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * late))


def random_frame(rng: np.random.Generator, foreign: float = 0.3) -> Frame:
    """Mostly the trained size; a `foreign` share has other sizes and proportions, as users'
    pictures have."""
    width = height = 84
    if rng.random() < foreign:
        short = int(rng.integers(64, 260))
        long = int(short * float(rng.choice([1.0, 1.0, 1.05, 1.2, 4 / 3, 4 / 3, 1.5, 1.6, 16 / 9])))
        width, height = (long, short) if rng.random() < 0.65 else (short, long)
    return Frame(width, height, int(rng.integers(4, 9)), int(rng.integers(RATE, 2 * RATE + 1)))
