"""Convolutions that take every patch of their input once, as one product, which is several times as
fast."""

from math import prod

import torch
from torch import nn

from .linear import Linear
from .replacing import replace_modules


class PatchProduct(nn.Module):
    """In the place of an `nn.Conv2d` or `nn.Conv3d` whose stride is its kernel. What is not packed
    is not copied."""

    def __init__(self, conv: nn.Conv2d | nn.Conv3d) -> None:
        super().__init__()
        self.kernel_size = tuple(conv.kernel_size)
        self.stride = self.kernel_size
        self.in_channels, self.out_channels = conv.in_channels, conv.out_channels
        self._product = Linear(conv.weight.detach().flatten(1), conv.bias)

    @property
    def weight(self) -> torch.Tensor:
        """For code that asks for its dtype."""
        return self._product.weight

    @property
    def bias(self) -> torch.Tensor | None:
        return self._product.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, channels, *sides] to [n, out_channels, *patches]; sides that are no multiple of the
        kernel's lose their ends."""
        n, channels, *sides = x.shape
        counts = [side // size for side, size in zip(sides, self.kernel_size, strict=True)]
        pairs = list(zip(counts, self.kernel_size, strict=True))
        for dim, (count, size) in enumerate(pairs, 2):
            x = x.narrow(dim, 0, count * size)
        split = x.reshape(n, channels, *(number for pair in pairs for number in pair))
        ends = 2 + 2 * len(pairs)
        order = (0, *range(2, ends, 2), 1, *range(3, ends, 2))
        patches = split.permute(order).reshape(n * prod(counts), channels * prod(self.kernel_size))
        return self._product(patches).view(n, *counts, self.out_channels).movedim(-1, 1)


def replace_patch_convolutions(module: nn.Module) -> None:
    """Put a `PatchProduct` in the place of every convolution in `module` that takes each patch
    once."""
    replace_modules(module, _product_of)


def _product_of(conv: nn.Module) -> PatchProduct | None:
    """None: it is no convolution that takes each patch once."""
    if not isinstance(conv, nn.Conv2d | nn.Conv3d):
        return None
    sides = len(conv.kernel_size)
    unpadded = conv.padding in ("valid", (0,) * sides)
    plain = conv.groups == 1 and conv.dilation == (1,) * sides and prod(conv.kernel_size) > 1
    once = plain and unpadded and tuple(conv.stride) == tuple(conv.kernel_size)
    return PatchProduct(conv) if once else None
