"""What a layer asks of its attention."""

from typing import NamedTuple

import torch


class How(NamedTuple):
    """What a layer asks of its attention."""

    scale: float
    window: int | None = None
    """Tokens that it looks back, its own included, as the layer says; its table has the same, which
    the self-check sees to."""
    softcap: float | None = None
    """Scores are bent to stay below it: softcap * tanh(score / softcap)."""
    sinks: torch.Tensor | None = None
    """[heads]: the score of a column without a value, which takes its part of every row's
    weights."""
