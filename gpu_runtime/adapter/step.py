"""What a decoder gets of one flat step."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ..attention.paged import PagedAttention
from ..memory.state_pool import RecurrentStep
from ..steps.overlay import Items


@dataclass
class StepInputs:
    """Of all tokens of a step, in its order."""

    tokens: torch.Tensor
    """int64 [tokens]: their ids, as they are looked up."""
    embeds: torch.Tensor
    """[tokens, hidden]"""
    positions: torch.Tensor
    """int64 [tokens], or [planes, tokens] where a prompt brings its own."""
    lengths: NDArray[np.int64]
    """[tokens]: positions that the prompt of each token's sequence takes."""
    items: Items | None = None
    """None: no item's tokens are in the step."""
    recurrent: RecurrentStep | None = None
    """None: the model keeps nothing but keys and values."""
    wanted: torch.Tensor | None = None
    """int64 [rows]: the tokens whose hidden states alone are asked for, by rising place; None: all.
    For decoders that say that they `narrow`."""


class Decoder(Protocol):
    narrows: bool
    """It computes the hidden states of `StepInputs.wanted` alone; what is not finite before the
    last of a work shows in it."""

    def __call__(self, step: StepInputs, attention: PagedAttention) -> torch.Tensor:
        """Normed hidden states [tokens, hidden], or [rows, hidden] of those that are wanted.
        `attention` has begun the step."""
