"""Triton's kernels for these tests: in its interpreter (`scripts/dev kernels`) or on a GPU
(THESPIS_TEST_DEVICE=cuda). Without either a module that imports this is skipped."""

import pytest
import torch

from thespis.gpu_runtime.triton.attention import DTYPES, TritonKernels

from ..helpers.environment import DEVICE

triton = pytest.importorskip("triton")
IN_INTERPRETER = bool(triton.knobs.runtime.interpret)
if DEVICE == "cpu" and not IN_INTERPRETER:
    pytest.skip("scripts/dev kernels runs these in Triton's interpreter", allow_module_level=True)

PLACE = torch.device(DEVICE)
ALL = (*DTYPES, torch.float32) if IN_INTERPRETER else DTYPES
"""Of pools."""


def kernels() -> TritonKernels:
    from thespis.gpu_runtime.triton import kernels as module

    return TritonKernels(module, ALL)
