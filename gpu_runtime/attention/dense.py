"""Attention in which every query sees every key, of float32 on a CPU: by a native kernel that is
tried against torch's."""

import ctypes

import torch
from torch.nn import functional as F

from ..native.belief import believed
from ..native.library import DenseAttention, Kernels, Numbers, load_kernels

WIDEST = 128
"""Of heads; of dense.cpp, too."""
WORTH_THREADS = 1 << 20
"""Products of numbers; fewer are made before other threads have woken."""


class Dense:
    """Of whole items; a query's result does not depend on the others."""

    def __init__(self, kernels: Kernels) -> None:
        self._attend = kernels.attend_dense

    def takes(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
        """`query` [items, heads, n, width], `key` and `value` [items, kv_heads, m, width]."""
        items, heads, _, width = query.shape
        alike = (
            key.shape == value.shape and key.shape[0] == items and key.shape[3] == width <= WIDEST
        )
        whole = alike and key.shape[2] > 0 and heads % key.shape[1] == 0
        return whole and all(
            one.device.type == "cpu" and one.dtype == torch.float32 and one.stride(3) == 1
            for one in (query, key, value)
        )

    def __call__(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Of what it `takes`, [items, n, heads, width]."""
        items, heads, queries, width = query.shape
        kv_heads, keys = key.shape[1:3]
        out = query.new_empty(items, queries, heads, width)
        threads = torch.get_num_threads() if query.numel() * keys > WORTH_THREADS else 1
        rows = map(_numbers, (query, key, value, out.transpose(1, 2)))
        self._attend(
            ctypes.byref(
                DenseAttention(*rows, items, heads, kv_heads, queries, keys, width, threads, scale)
            )
        )
        return out


def _numbers(tensor: torch.Tensor) -> Numbers:
    item, head, row, _ = tensor.stride()
    return Numbers(tensor.data_ptr(), item, head, row)


def usable_dense() -> Dense | None:
    """None, after one line in the log, where there are no kernels or they are not right."""
    kernels = believed(load_kernels(), dense_is_right, "attention of towers")
    return None if kernels is None else Dense(kernels)


@torch.inference_mode()
def dense_is_right(kernels: Kernels) -> bool:
    """Whether it gives what torch gives, on this processor and as this compiler made it: of several
    tiles and steps, none of them full, and of widths that fill no vector."""
    dice = torch.Generator().manual_seed(0)
    attend = Dense(kernels)
    for width in (24, 64, 76):
        query, key, value = (
            torch.randn(2, count, heads, width, generator=dice).transpose(1, 2)
            for count, heads in ((101, 4), (213, 2), (213, 2))
        )
        found = attend(query, key, value, 0.2).transpose(1, 2)
        right = F.scaled_dot_product_attention(query, key, value, scale=0.2, enable_gqa=True)
        if not bool(((found - right).abs() <= 1e-4).all()):
            return False
    return True
