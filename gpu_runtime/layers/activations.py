"""Activations that torch has no kernel for, in one pass over memory."""

import torch
from torch import nn
from transformers.activations import QuickGELUActivation

from .replacing import replace_modules

ROWS_BYTES = 1 << 18
"""Of what is computed at once: it stays in a core's own cache from one operation to the next."""


class QuickGelu(nn.Module):
    """x * sigmoid(1.702 x)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = x.new_empty(x.shape)
        rows = max(1, ROWS_BYTES * torch.get_num_threads() // max(1, x.shape[-1] * x.itemsize))
        given, made = x.reshape(-1, x.shape[-1]), out.view(-1, x.shape[-1])
        for start in range(0, len(given), rows):
            piece = torch.mul(given[start : start + rows], 1.702, out=made[start : start + rows])
            piece.sigmoid_().mul_(given[start : start + rows])
        return out


def replace_activations(module: nn.Module) -> None:
    """Put ours in the place of every activation in `module` that transformers computes in several
    passes."""
    replace_modules(module, lambda one: QuickGelu() if type(one) is QuickGELUActivation else None)
