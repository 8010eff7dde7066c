"""Activations that torch has no kernel for, in one pass over memory."""

import torch
from torch import nn
from transformers.activations import QuickGELUActivation

from ..native.belief import believed
from ..native.library import Kernels, load_kernels
from .replacing import replace_modules

ROWS_BYTES = 1 << 18
"""Of what torch computes at once: it stays in a core's own cache from one operation to the next."""
LANES = 16
"""Numbers of the widest vectors."""
WORTH_THREADS = 1 << 16
"""Numbers; fewer are done before other threads have woken."""
_KNOWN = (torch.float32, torch.bfloat16)


class QuickGelu(nn.Module):
    """x * sigmoid(1.702 x)."""

    def __init__(self, kernels: Kernels | None = None) -> None:
        super().__init__()
        self._native = None if kernels is None else kernels.quick_gelu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fits = x.device.type == "cpu" and x.dtype in _KNOWN and x.numel() % LANES == 0
        if self._native is None or not fits:
            return _in_pieces(x)
        x = x.contiguous()
        out = torch.empty_like(x)
        threads = torch.get_num_threads() if x.numel() > WORTH_THREADS else 1
        half = x.dtype == torch.bfloat16
        self._native(x.data_ptr(), out.data_ptr(), x.numel(), half, threads)
        return out


def _in_pieces(x: torch.Tensor) -> torch.Tensor:
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
    kernels = believed(load_kernels(), is_right, "activations")

    def ours(one: nn.Module) -> nn.Module | None:
        return QuickGelu(kernels) if type(one) is QuickGELUActivation else None

    replace_modules(module, ours)


@torch.inference_mode()
def is_right(kernels: Kernels) -> bool:
    """Whether they give what torch gives."""
    x = 4 * torch.randn(3, 48, generator=torch.Generator().manual_seed(0))
    return all(
        torch.allclose(QuickGelu(kernels)(given).float(), _in_pieces(given).float(), near, near)
        for given, near in ((x, 1e-5), (x.bfloat16(), 2e-2))
    )
