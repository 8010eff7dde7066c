"""Which kernels attention runs on: decided here, for every device. All are tried before they are
believed."""

import torch

from ..native import library as native
from ..triton.attention import TritonKernels
from . import tried, tried_on_device

AttentionKernels = native.Kernels | TritonKernels


def usable_kernels(dtype: torch.dtype, device: torch.device) -> AttentionKernels | None:
    """On a CPU those of its compiler, on a GPU Triton's; None: torch's own operations are used, as
    where none are allowed."""
    if not native.kernels_are_allowed():
        return None
    return (
        tried.usable_native_kernels(dtype)
        if device.type == "cpu"
        else tried_on_device.usable_triton_kernels(dtype, device)
    )
