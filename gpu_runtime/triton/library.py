"""Triton's kernels as a process gets them: where the GPU is one that they are made for, and they
give torch's numbers there."""

import torch

from ..native.build import private_folder
from .attention import DTYPES, TritonKernels

CAPABILITY = (8, 0)
"""Compute capability; below it Triton makes no use of tensor cores, and spills."""


def is_made_for(dtype: torch.dtype, device: torch.device) -> bool:
    """float32 keeps torch's operations: tensor cores would round it."""
    return (
        device.type == "cuda"
        and dtype in DTYPES
        and torch.version.hip is None
        and torch.cuda.get_device_capability(device) >= CAPABILITY
    )


def load_triton_kernels() -> TritonKernels:
    """What they are compiled to is kept in a folder that is the user's alone.

    Raises ImportError where there is no Triton, Unavailable where there can be no such folder.
    """
    from . import kernels

    kernels.keep_in(str(private_folder("triton")))
    return TritonKernels(kernels)
