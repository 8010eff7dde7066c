"""What a decoder does row by row between its products: by torch's operations, or each in one pass
by the native kernels.

Torch makes a norm of six operations that each read all of a long prompt, and where several threads
compute they meet at each.
"""

import torch
from torch.nn import functional as F

from ..native.belief import believed
from ..native.library import Kernels

LANES = 16
"""Rows are as wide as whole vectors, the widest too."""
WORTH_THREADS = 1 << 16
"""Numbers of all rows; fewer are done before other threads have woken."""
_KNOWN = (torch.float32, torch.bfloat16)


class Rowwise:
    """By torch, on any device and in any precision."""

    def begin(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, width], which `norm` may change."""
        return x

    def norm(
        self, x: torch.Tensor, more: torch.Tensor | None, weight: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The sum of `x` and `more` [rows, width], and its root-mean-square norm by `weight`
        [width]."""
        if more is not None:
            x = x + more
        return x, F.rms_norm(x, (x.shape[1],), weight, eps)

    def gated(self, gate_up: torch.Tensor) -> torch.Tensor:
        """[rows, 2 * width], gates first, to [rows, width]: silu(gate) * up."""
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    def turn(self, heads: torch.Tensor, turned: int, turn: torch.Tensor) -> None:
        """Turn every pair of the first `turned` of `heads` [rows, heads, width] in place, by `turn`
        complex64 [rows, 1, width / 2]."""
        heads = heads[:, :turned]
        pairs = torch.view_as_complex(heads.float().view(*heads.shape[:2], -1, 2))
        pairs.mul_(turn)
        if heads.dtype != torch.float32:
            heads.copy_(torch.view_as_real(pairs).flatten(-2))


class NativeRowwise(Rowwise):
    """By the kernels of `native/rowwise.cpp`: numbers are rounded where they are stored, and
    nowhere between."""

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels

    def begin(self, x: torch.Tensor) -> torch.Tensor:
        return x.clone(memory_format=torch.contiguous_format)

    def norm(
        self, x: torch.Tensor, more: torch.Tensor | None, weight: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert x.is_contiguous(), "a sum that `begin` or this has made"
        more = None if more is None else more.contiguous()
        out = torch.empty_like(x)
        rows, width = x.shape
        self._kernels.norm(
            x.data_ptr(), None if more is None else more.data_ptr(), weight.data_ptr(),
            out.data_ptr(), rows, width, eps,
            x.dtype == torch.bfloat16, _threads(x),
        )  # fmt: skip
        return x, out

    def gated(self, gate_up: torch.Tensor) -> torch.Tensor:
        gate_up = gate_up.contiguous()
        rows, width = gate_up.shape[0], gate_up.shape[1] // 2
        out = gate_up.new_empty((rows, width))
        half = gate_up.dtype == torch.bfloat16
        self._kernels.gate(gate_up.data_ptr(), out.data_ptr(), rows, width, half, _threads(gate_up))
        return out

    def turn(self, heads: torch.Tensor, turned: int, turn: torch.Tensor) -> None:
        assert heads.is_contiguous(), "turned in place"
        turn = turn.contiguous()
        rows, _, width = heads.shape
        half = heads.dtype == torch.bfloat16
        self._kernels.turn(
            heads.data_ptr(), turn.data_ptr(), rows, heads.stride(0), turned, width, half,
            _threads(heads)
        )  # fmt: skip


def rowwise_for(kernels: object, like: torch.Tensor, widths: tuple[int, ...]) -> Rowwise:
    """Native ones where there are such for numbers `like` these, and rows of these `widths`, and
    they give what torch does."""
    known = like.device.type == "cpu" and like.dtype in _KNOWN
    fits = known and not any(width % LANES for width in widths)
    native = kernels if isinstance(kernels, Kernels) and fits else None
    found = believed(native, rowwise_is_right, "norms, gates and turns", like.dtype)
    return Rowwise() if found is None else NativeRowwise(found)


def rowwise_is_right(kernels: Kernels, dtype: torch.dtype) -> bool:
    """Whether they give what torch gives of rows of this type."""
    dice = torch.Generator().manual_seed(0)
    x, more, weight, both, heads = (
        (4 * torch.randn(shape, generator=dice)).to(dtype)
        for shape in ((5, 48), (5, 48), (48,), (5, 96), (5, 3, 48))
    )
    turn = torch.polar(torch.ones(5, 1, 24), torch.randn(5, 1, 24, generator=dice))
    found: list[list[torch.Tensor]] = []
    for way in (Rowwise(), NativeRowwise(kernels)):
        turned = heads.clone()
        way.turn(turned, 2, turn)
        summed, normed = way.norm(way.begin(x), more, weight, 1e-6)
        again = way.norm(summed, None, weight, 1e-6)[1]
        found.append([summed, normed, again, way.gated(both), turned])
    close = 1e-5 if dtype == torch.float32 else 2e-2
    pairs = zip(*found, strict=True)
    return all(torch.allclose(one.float(), other.float(), close, close) for one, other in pairs)


def _threads(x: torch.Tensor) -> int:
    return torch.get_num_threads() if x.numel() > WORTH_THREADS else 1
