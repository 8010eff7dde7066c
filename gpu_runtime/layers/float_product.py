"""The native product of float32 rows with a matrix in the narrowest type that holds its numbers
exactly.

Most checkpoints are stored in 16 bits. Computed in float32 their weights are the same numbers, in
twice the memory, and a decode step takes the time of reading them.
"""

import ctypes

import torch
from torch.nn import functional as F

from ..native.belief import believed
from ..native.library import FloatMultiplication, Kernels, load_kernels
from .panels import PANEL, aim, filled, gives, panels_for

TYPES = (torch.float32, torch.bfloat16, torch.float16)
"""A matrix's, in the order of float_product.cpp."""
_NARROW = (torch.bfloat16, torch.float16)
_KNOWN = (torch.float32,)
"""Of rows."""
_AT_ONCE = 1 << 20
"""Numbers that are looked at or moved at a time: they stay in a core's cache."""


class FloatMatrix:
    """A packed matrix; called, it multiplies. One thread at a time calls it."""

    def __init__(self, kernels: Kernels, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """`weight` float32 [out, in] and `bias` float32 [out], on the CPU; neither is kept. Raises
        ValueError for one of no numbers, which the kernels would divide by."""
        if not weight.numel():
            raise ValueError(f"a matrix of {list(weight.shape)} has no numbers to multiply with")
        self._multiply = kernels.multiply_floats
        outputs, inputs = weight.shape
        self._panels = _panels(weight)
        self._bias = None if bias is None else filled(bias)
        self._call = FloatMultiplication(
            panels=self._panels.data_ptr(),
            bias=None if self._bias is None else self._bias.data_ptr(),
            inputs=inputs, outputs=outputs, type=TYPES.index(self._panels.dtype),
        )  # fmt: skip
        """What all products have in common; the rest is written at each. It points into the
        tensors."""
        self._call_at = ctypes.addressof(self._call)

    @property
    def dtype(self) -> torch.dtype:
        """Of the matrix in memory."""
        return self._panels.dtype

    def unpacked(self) -> torch.Tensor:
        """float32 [out, in]"""
        panels, halves = self._panels, 2 if self.dtype == torch.bfloat16 else 1
        by_output = panels.view(*panels.shape[:2], PANEL // halves, halves).permute(0, 3, 2, 1)
        return by_output.reshape(-1, self._call.inputs)[: self._call.outputs].float()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """float32 [..., in] to [..., out].

        Raises RuntimeError for another type or width.
        """
        _rows, out = aim(self._call, x, self._panels, _KNOWN)  # kept until they have been read
        self._multiply(self._call_at)
        return out


def _panels(weight: torch.Tensor) -> torch.Tensor:
    """[panels, in, PANEL], as the kernel takes them."""
    outputs, inputs = weight.shape
    made = torch.zeros(panels_for(outputs), inputs, PANEL, dtype=narrowest(weight))
    paired = made.dtype == torch.bfloat16
    ordered = made.view(torch.int32) if paired else made
    whole = outputs // PANEL
    step = max(1, _AT_ONCE // (inputs * PANEL))
    for first in range(0, whole, step):
        part = weight[first * PANEL : min(whole, first + step) * PANEL]
        ordered[first : first + step][: len(part) // PANEL].copy_(_by_input(part, paired))
    if whole < len(made):
        rest = F.pad(weight[whole * PANEL :], (0, 0, 0, -outputs % PANEL))
        ordered[whole:].copy_(_by_input(rest, paired))
    return made


def _by_input(part: torch.Tensor, paired: bool) -> torch.Tensor:
    """float32 [panels * PANEL, in] to [panels, in, PANEL]; `paired`, int32 [panels, in, PANEL / 2]:
    of floats with 16 bits, the first half's in the lower part of each number and the second half's
    in the upper."""
    if not paired:
        return part.view(-1, PANEL, part.shape[1]).transpose(1, 2)
    low, high = part.view(torch.int32).view(-1, 2, PANEL // 2, part.shape[1]).unbind(1)
    return ((low >> 16) & 0xFFFF | high).transpose(1, 2)


def narrowest(weight: torch.Tensor) -> torch.dtype:
    """Of TYPES, that in which float32 `weight` [out, in] keeps every number."""
    parts = torch.split(weight, max(1, _AT_ONCE // weight.shape[1]))
    for dtype in _NARROW:
        if all(torch.equal(part.to(dtype).float(), part) for part in parts):
            return dtype
    return torch.float32


def usable_float_kernels() -> Kernels | None:
    """Those of this machine; None, after one line in the log, where there are none or they are not
    right."""
    return believed(load_kernels(), float_products_are_right, "products")


@torch.inference_mode()
def float_products_are_right(kernels: Kernels) -> bool:
    """Whether they give what torch gives: of every type, and of outputs that fill no panel."""
    dice = torch.Generator().manual_seed(0)
    bias = torch.randn(PANEL * 9 + 3, generator=dice)
    for dtype in TYPES:
        weight = torch.randn(len(bias), 41, generator=dice).to(dtype).float()
        if not gives(FloatMatrix(kernels, weight, bias), weight, bias, torch.float32, 1e-4, dice):
            return False
    return True
