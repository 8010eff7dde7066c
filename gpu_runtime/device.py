"""How torch computes in this process; set once, before anything is built."""

from typing import Any

import torch

_backends: Any = torch.backends  # its settings of precision have no types yet


def prepare(device: str, threads: int) -> torch.device:
    """The device, with CPU work on `threads` threads and float32 that is float32: by default cuDNN's convolutions round
    its mantissa to 10 bits (TF32), which moves a picture's embedding by 1e-3."""
    torch.set_num_threads(threads)
    _backends.cudnn.conv.fp32_precision = "ieee"  # the general setting leaves this one alone
    return torch.device(device)
