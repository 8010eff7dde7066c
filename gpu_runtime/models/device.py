"""How torch computes in this process; set once, before anything is built."""

import ctypes
import os
from typing import Any

import torch

_backends: Any = torch.backends  # its settings of precision have no types yet


def prepare_device(device: str, threads: int, deterministic: bool = False) -> torch.device:
    """The device, with CPU work on `threads` threads and float32 that is float32: by default
    cuDNN's convolutions round its mantissa to 10 bits (TF32), which moves a picture's embedding by
    1e-3.

    `deterministic`: the same call gives the same bits; torch raises RuntimeError for an operation
    that cannot.
    """
    torch.set_num_threads(threads)
    _backends.cudnn.conv.fp32_precision = "ieee"  # the general setting leaves this one alone
    # Not without need: the call imports torch's compiler, 40 MB of it.
    if deterministic != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(deterministic)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA is first used
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads what it has not written
    return torch.device(device)


_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_KEPT_BYTES = 256 << 20


def keep_freed_memory() -> None:
    """Have the C library hand out again what was freed, up to 256 MiB, in place of giving it back
    to the system: a long chunk's tensors are tens of megabytes, whose pages would fault in anew at
    every layer. Where it is glibc; elsewhere nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
