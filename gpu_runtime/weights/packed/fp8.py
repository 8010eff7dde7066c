"""FP8 as `quant_method: fp8` has it: eight-bit floats, and a scale for each block, or one for the
whole weight."""

import re
from collections.abc import Mapping
from typing import Any

import torch

from .form import WEIGHT, BrokenParts

SCALE = "scale"
_SCALES = ("_scale_inv", "_scale")
"""Behind the weight's own name. Both are multiplied by: the first is the inverse of what was
multiplied by when packing."""
_ACTIVATIONS = re.compile(r"[._](input|activation|act|k|v|q|kv|prob)_scale(_inv)?$")
"""Scales of what is computed, which is computed in full here."""


class Fp8:
    """`stated`: the quantization_config of config.json."""

    def __init__(self, stated: Mapping[str, Any]) -> None:
        block = stated.get("weight_block_size")
        self._block: tuple[int, int] | None = None if block is None else (block[0], block[1])
        """Rows and columns that share a scale; None: all of a weight do."""

    def part_of(self, name: str) -> tuple[str, str] | None:
        if _ACTIVATIONS.search(name):
            return None
        for ending in _SCALES:
            if name.endswith(ending):
                return name.removesuffix(ending), SCALE
        return name, WEIGHT

    def shape(self, weight: str, parts: Mapping[str, list[int]]) -> list[int]:
        stored, scale = parts[WEIGHT], parts[SCALE]
        if self._block is not None and len(stored) >= 2 and scale != self._grid(stored):
            raise BrokenParts(f"its scales are {scale} and should be {self._grid(stored)}")
        if self._block is None and not _spreads(scale, stored):
            raise BrokenParts(f"its scales are {scale} and it is {stored}")
        return stored

    def unpack(
        self, weight: str, parts: Mapping[str, torch.Tensor], dtype: torch.dtype
    ) -> torch.Tensor:
        packed, scale = parts[WEIGHT], parts[SCALE].float()
        if self._block is None or packed.ndim < 2:
            return (packed.float() * _aligned(scale, packed)).to(dtype)
        made = torch.empty(packed.shape, dtype=dtype)
        flat, grid, out = (one.reshape(-1, *one.shape[-2:]) for one in (packed, scale, made))
        rows, columns = self._block
        for number in range(len(flat)):  # one matrix at a time: experts may be stored all in one
            tall = grid[number].repeat_interleave(rows, 0)[: packed.shape[-2]]
            wide = tall.repeat_interleave(columns, 1)[:, : packed.shape[-1]]
            out[number] = flat[number].float() * wide
        return made

    def _grid(self, weight: list[int]) -> list[int]:
        """Blocks along each axis; the last may be cut."""
        assert self._block is not None
        sizes = zip(weight[-2:], self._block, strict=True)
        return [*weight[:-2], *(-(-size // block) for size, block in sizes)]


def _spreads(scale: list[int], weight: list[int]) -> bool:
    """One number for all, for each expert, or for each row."""
    rows, others = scale[:1], scale[1:]
    return all(size == 1 for size in others) and rows in ([], [1], weight[:1])


def _aligned(scale: torch.Tensor, packed: torch.Tensor) -> torch.Tensor:
    return scale.reshape(()) if scale.numel() == 1 else scale.reshape(-1, *[1] * (packed.ndim - 1))
