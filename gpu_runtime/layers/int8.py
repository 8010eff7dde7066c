"""Linear layers whose weights are whole numbers of eight bits, with a scale for each output.

Activations are not stored in eight bits: within the native product each row of them becomes whole
numbers of up to 16 bits, with a scale of its own. What is lost is lost by the weights, and a row's
result does not depend on the rows beside it.
"""

from collections.abc import Iterator
from functools import partial
from typing import cast

import torch
from torch import nn
from torch.nn import functional as F

from .product import Product
from .stand_in import StandIn

LARGEST = 127
"""Of a weight's whole numbers: as far below zero as above."""
NARROW = 32
"""Inputs or outputs."""
AT_ONCE = 1 << 20
"""Numbers that are unpacked at a time: they stay in a core's cache."""


class Int8Weights(nn.Module):
    """A linear layer as it is loaded, in the place of transformers' own. Its product unpacks the
    weights, part by part.

    Its tensors are plain attributes: it has no parameters.
    """

    def __init__(
        self,
        numbers: torch.Tensor,
        scales: torch.Tensor,
        bias: torch.Tensor | None,
        dtype: torch.dtype,
        product: Product | None = None,
    ) -> None:
        """`numbers` int8 [out, in]; `scales` float32 [out]; `bias` [out] of `dtype`, that of the
        activations. `product`: the native one, where there is one."""
        super().__init__()
        self.out_features, self.in_features = numbers.shape
        self.numbers, self.scales, self.bias = numbers, scales, bias
        self.dtype, self.product = dtype, product
        unpack = partial(_whole, numbers, scales, dtype)  # knows no layer: no cycle
        self._weight = StandIn(unpack, numbers.shape, dtype)

    @property
    def weight(self) -> torch.Tensor:
        """For code that asks for its dtype or computes with it: the rounded numbers, kept from the
        first time on."""
        return self._weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., out], computed in float32."""
        wide, parts = x.float(), _unpacked(self.numbers, self.scales)
        made = torch.cat([F.linear(wide, part) for part in parts], dim=-1)
        return (made if self.bias is None else made + self.bias.float()).to(x.dtype)


def _whole(numbers: torch.Tensor, scales: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.cat([part.to(dtype) for part in _unpacked(numbers, scales)])


def _unpacked(numbers: torch.Tensor, scales: torch.Tensor) -> Iterator[torch.Tensor]:
    rows = max(1, AT_ONCE // numbers.shape[1])
    for part, scale in zip(torch.split(numbers, rows), torch.split(scales, rows), strict=True):
        yield part.float().mul_(scale[:, None])


class Int8Linear(nn.Module):
    """The same in the layout of the native product."""

    def __init__(self, weights: Int8Weights, product: Product) -> None:
        super().__init__()
        self.out_features, self.in_features = weights.out_features, weights.in_features
        self.bias, self._dtype, self._product = weights.bias, weights.dtype, product
        self._matrix = product.pack(weights.numbers, weights.scales, weights.bias)
        self._weight = StandIn(self._whole, weights.numbers.shape, weights.dtype)

    @property
    def weight(self) -> torch.Tensor:
        """As of `Int8Weights`."""
        return self._weight

    def _whole(self) -> torch.Tensor:
        return self._matrix.unpacked().to(self._dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., out]."""
        return self._product(x, self._matrix)

    __call__ = forward


class Int8:
    """Holds the weights of linear layers in eight bits, as soon as each is read."""

    def __init__(self, product: Product | None) -> None:
        """`product`: the native one, where there is one."""
        self._product = product

    def wants(self, module: nn.Module, dtype: torch.dtype) -> bool:
        """Not what the model asks for in float32 in a run of another `dtype`."""
        return can_hold(module) and cast(nn.Linear, module).weight.dtype == dtype

    def __call__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> Int8Weights:
        """`weight` [out, in] and `bias` [out], both of one floating type."""
        return Int8Weights(*quantised(weight), bias, weight.dtype, self._product)


def can_hold(module: nn.Module) -> bool:
    """Narrow layers are left: they are gates more often than not, which decide much and weigh
    nothing."""
    return type(module) is nn.Linear and min(module.weight.shape) >= NARROW


def quantised(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`weight` [out, in] as int8 [out, in], and float32 [out] scales; a part at a time, so that
    nothing else is large."""
    numbers = torch.empty(weight.shape, dtype=torch.int8)
    scales = torch.empty(len(weight))
    rows = max(1, AT_ONCE // weight.shape[1])
    parts = (torch.split(each, rows) for each in (weight, numbers, scales))
    for part, made, scale in zip(*parts, strict=True):
        wide = part.float()
        scale.copy_(wide.abs().amax(dim=1) / LARGEST)
        made.copy_((wide / scale.clamp(min=torch.finfo(torch.float32).tiny)[:, None]).round_())
    return numbers, scales


def served(weights: Int8Weights) -> Int8Weights | Int8Linear:
    """What a step calls."""
    return weights if weights.product is None else Int8Linear(weights, weights.product)
