"""The one linear layer: plain, or in a layout that is faster: the native product's, or oneDNN's."""

from functools import cache

import torch
from torch import nn
from torch.nn import functional as F

from ..native.library import Kernels
from .float_product import FloatMatrix, usable_float_kernels
from .stand_in import StandIn

WORTH_PACKING = 1 << 18
"""Weights from this size gain by oneDNN's own layout (batch 4 and more); below it, its call costs
more than it saves."""
WORTH_NATIVE = 1 << 16
"""The same for the native product."""


class Linear(nn.Module):
    """x @ weight.T + bias. When packed, the dense weight is not kept.

    Its tensors are plain attributes and its call is its forward: a decode step of a small model is
    mostly such calls.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, pack: bool = True) -> None:
        """`weight` [out, in], `bias` [out]; neither is copied where it is not packed."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self._bias = None if bias is None else bias.detach()
        self._weight = weight.detach()
        self._native: FloatMatrix | None = None
        self._packed: torch.Tensor | None = None
        if not pack:
            return
        if (kernels := _native_for(weight)) is not None:
            self._native = FloatMatrix(kernels, self._weight, self._bias)
            self._weight = StandIn(self._native.unpacked, weight.shape, weight.dtype)
        elif _worth_onednn(weight):
            self._packed = _packed(self._weight)
            self._weight = StandIn(self._packed.to_dense, weight.shape, weight.dtype)

    @property
    def weight(self) -> torch.Tensor:
        """For code that asks for its dtype or computes with it; when packed its numbers are
        unpacked for the latter."""
        return self._weight

    @property
    def bias(self) -> torch.Tensor | None:
        return self._bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self._native is not None:
            return self._native(x)
        if self._packed is not None:
            return _product(x, self._packed, self._bias)
        return F.linear(x, self._weight, self._bias)

    __call__ = forward


def worth_packing(weight: torch.Tensor) -> bool:
    """Whether a `Linear` of it is packed."""
    return _native_for(weight) is not None or _worth_onednn(weight)


def _native_for(weight: torch.Tensor) -> Kernels | None:
    is_one = weight.device.type == "cpu" and weight.dtype == torch.float32
    return usable_float_kernels() if is_one and weight.numel() >= WORTH_NATIVE else None


def _worth_onednn(weight: torch.Tensor) -> bool:
    is_large = weight.device.type == "cpu" and weight.numel() >= WORTH_PACKING
    return is_large and _can_pack(weight.dtype)


@cache
def _can_pack(dtype: torch.dtype) -> bool:
    """Asked of oneDNN itself: in half precision it depends on the CPU."""
    if not torch.backends.mkldnn.enabled:
        return False
    some = torch.ones(16, 16, dtype=dtype)
    try:
        return bool((_product(some, _packed(some), None) == 16).all())
    except RuntimeError:
        return False


def _packed(weight: torch.Tensor) -> torch.Tensor:
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 8)
    return packed


def _product(x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    return out
