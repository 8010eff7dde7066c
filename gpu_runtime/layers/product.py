"""The native product of rows with whole numbers of eight bits, and the layout that it wants them
in."""

from functools import partial
from typing import NamedTuple

import torch

from ..native.belief import believed
from ..native.library import Kernels, Multiplication, load_kernels
from .panels import PANEL, aim, filled, gives, panels_for

MOST_STEP = 32767
MOST_SUM = 2**31 - 1
_KNOWN = (torch.float32, torch.bfloat16)


class Matrix(NamedTuple):
    """A packed matrix. The call points into the tensors."""

    panels: torch.Tensor
    """int8 [panels, inputs / 2, PANEL, 2]: pairs of inputs, filled up with zeros."""
    scales: torch.Tensor
    """float32 [panels * PANEL]"""
    bias: torch.Tensor | None
    """float32 [panels * PANEL]"""
    call: Multiplication
    """What all calls have in common; the rest is written at each."""

    def unpacked(self) -> torch.Tensor:
        """float32 [out, in]"""
        outputs, inputs = self.call.outputs, self.call.inputs
        numbers = self.panels.transpose(1, 2).flatten(0, 1).flatten(1)[:outputs, :inputs]
        return numbers * self.scales[:outputs, None]


class Product:
    """Rows times a matrix. One thread at a time calls it."""

    def __init__(self, kernels: Kernels) -> None:
        self._multiply = kernels.multiply
        self._scratch = torch.empty(0, dtype=torch.int16)
        """Rows as whole numbers, and their scales; kept between calls, because fresh memory faults
        in page by page."""

    def pack(
        self, numbers: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None
    ) -> Matrix:
        """`numbers` int8 [out, in], `scales` float32 [out], `bias` [out]; none is kept."""
        outputs, inputs = numbers.shape
        count, pairs = panels_for(outputs), -(-inputs // 2)
        whole = numbers
        if (count * PANEL, 2 * pairs) != (outputs, inputs):
            whole = torch.zeros(count * PANEL, 2 * pairs, dtype=torch.int8)
            whole[:outputs, :inputs] = numbers
        panels = whole.view(count, PANEL, pairs, 2).transpose(1, 2).contiguous()
        scales, bias = filled(scales), None if bias is None else filled(bias)
        call = Multiplication(
            panels=panels.data_ptr(), scales=scales.data_ptr(),
            bias=None if bias is None else bias.data_ptr(),
            inputs=inputs, outputs=outputs, most=largest_step(numbers),
        )  # fmt: skip
        return Matrix(panels, scales, bias, call)

    def __call__(self, x: torch.Tensor, matrix: Matrix) -> torch.Tensor:
        """[..., in] to [..., out] of the same type. Raises RuntimeError for another width."""
        if x.dtype not in _KNOWN:
            return self(x.float(), matrix).to(x.dtype)
        call = matrix.call
        rows, out = aim(call, x, matrix.panels, _KNOWN)
        count, width = len(rows), call.inputs + 1
        call.is_bf16 = x.dtype == torch.bfloat16
        if self._scratch.numel() < count * (width + 2):
            self._scratch = torch.empty(count * (width + 2), dtype=torch.int16)
        call.row_scales = self._scratch.data_ptr()
        call.steps = call.row_scales + 4 * count
        self._multiply(call)
        return out


def largest_step(numbers: torch.Tensor) -> int:
    """How large the whole numbers of a row may be: no sum of products with int8 [out, in] overflows
    32 bits then."""
    sums = torch.stack([part.int().abs().sum(dim=1).max() for part in torch.split(numbers, 4096)])
    return min(MOST_STEP, MOST_SUM // max(1, int(sums.max())))


def usable_product() -> Product | None:
    """Of this machine; None, after one line in the log, where there is none or it is not right."""
    kernels = believed(load_kernels(), int8_products_are_right, "products of int8 weights")
    return None if kernels is None else Product(kernels)


def int8_products_are_right(kernels: Kernels) -> bool:
    """Whether they give what torch gives: of rows of every type, and of shapes that fill no
    panel."""
    return all(_is_right(Product(kernels), dtype) for dtype in _KNOWN)


def _is_right(product: Product, dtype: torch.dtype) -> bool:
    dice = torch.Generator().manual_seed(0)
    numbers = torch.randint(-127, 128, (PANEL * 2 + 3, 41), generator=dice, dtype=torch.int8)
    scales = torch.rand(len(numbers), generator=dice) / 127
    bias = torch.randn(len(numbers), generator=dice)
    multiply = partial(product, matrix=product.pack(numbers, scales, bias))
    close = 1e-3 if dtype == torch.float32 else 6e-2
    return gives(multiply, numbers * scales[:, None], bias, dtype, close, dice)
