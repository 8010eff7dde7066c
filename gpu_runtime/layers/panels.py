"""What the native products share: outputs in panels, rows as the kernels take them, and how both
are tried."""

from collections.abc import Callable

import torch

from ..native.library import FloatMultiplication, Multiplication

PANEL = 16
"""Outputs that lie together."""
WORTH_THREADS = 1 << 18
"""Products of numbers; fewer are made before other threads have woken."""


def panels_for(outputs: int) -> int:
    return -(-outputs // PANEL)


def filled(values: torch.Tensor) -> torch.Tensor:
    """`values` [outputs] as float32 [panels * PANEL], filled up with zeros."""
    made = torch.zeros(panels_for(len(values)) * PANEL)
    made[: len(values)] = values
    return made


def aim(
    call: FloatMultiplication | Multiplication,
    x: torch.Tensor,
    panels: torch.Tensor,
    dtypes: tuple[torch.dtype, ...],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Write into `call` what differs from one product to the next. The rows [n, in] of `x` [...,
    in], which must be kept until it has been made, and its place [..., out].

    Raises RuntimeError for another type than `dtypes`, or another width.
    """
    inputs = call.inputs
    if x.dtype not in dtypes or x.shape[-1] != inputs:
        known = " or ".join(map(str, dtypes))
        raise RuntimeError(f"{x.dtype} {list(x.shape)} where {known} [..., {inputs}] is multiplied")
    rows = x if x.ndim == 2 else x.reshape(-1, inputs)
    if rows.stride(1) != 1:
        rows = rows.contiguous()
    count = rows.shape[0]
    out = x.new_empty((*x.shape[:-1], call.outputs))
    call.x, call.out = rows.data_ptr(), out.data_ptr()
    call.rows, call.row_stride = count, rows.stride(0)
    call.threads = torch.get_num_threads() if count * panels.numel() > WORTH_THREADS else 1
    return rows, out


def gives(
    product: Callable[[torch.Tensor], torch.Tensor],
    weight: torch.Tensor,
    bias: torch.Tensor,
    dtype: torch.dtype,
    close: float,
    dice: torch.Generator,
) -> bool:
    """Whether `product` is x @ weight.T + bias, within `close`, of rows of `dtype`: of every number
    of them that share a load, and of more."""
    for rows in (*range(1, 14), 40):
        x = torch.randn(rows, weight.shape[1], generator=dice).to(dtype)
        right = x.double() @ weight.double().T + bias
        if not bool(((product(x).double() - right).abs() <= close).all()):
            return False
    return True
