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
    """`block`: rows and columns that share a scale; None: all of a weight do."""

    def __init__(self, block: tuple[int, int] | None) -> None:
        self._block = block

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
            wide = (
                grid[number]
                .repeat_interleave(rows, 0)[: packed.shape[-2]]
                .repeat_interleave(columns, 1)
            )
            out[number] = flat[number].float() * wide[:, : packed.shape[-1]]
        return made

    def _grid(self, weight: list[int]) -> list[int]:
        """Blocks along each axis; the last may be cut."""
        assert self._block is not None
        return [
            *weight[:-2],
            *(-(-size // block) for size, block in zip(weight[-2:], self._block, strict=True)),
        ]


def fp8(stated: Mapping[str, Any]) -> Fp8:
    block = stated.get("weight_block_size")
    return Fp8(None if block is None else (block[0], block[1]))


def _spreads(scale: list[int], weight: list[int]) -> bool:
    """One number for all, for each expert, or for each row."""
    return all(size == 1 for size in scale) or (
        scale[0] == weight[0] and all(size == 1 for size in scale[1:])
    )


def _aligned(scale: torch.Tensor, packed: torch.Tensor) -> torch.Tensor:
    return scale.reshape(()) if scale.numel() == 1 else scale.reshape(-1, *[1] * (packed.ndim - 1))
