"""MXFP4 as gpt-oss is published: floats of four bits, two in a byte, and an exponent for each block
of inputs of an expert."""

from collections.abc import Mapping
from typing import Any

import torch

from .form import WEIGHT, check_parts

BLOCKS, SCALES = "blocks", "scales"
_BIAS = 127
"""Of the exponents."""
_NUMBERS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""By the lower three bits; the fourth is the sign."""


class Mxfp4:
    """Experts, all of a layer in one: stored [experts, outputs, blocks, bytes], and [experts,
    inputs, outputs] as numbers."""

    def __init__(self, stated: Mapping[str, Any]) -> None:
        """Nothing of it is stated."""

    def part_of(self, name: str) -> tuple[str, str] | None:
        for part in (BLOCKS, SCALES):
            if name.endswith(f"_{part}"):
                return name.removesuffix(f"_{part}"), part
        return name, WEIGHT

    def shape(self, weight: str, parts: Mapping[str, list[int]]) -> list[int]:
        experts, outputs, blocks, size = parts[BLOCKS]
        check_parts(parts, {SCALES: [experts, outputs, blocks]}, optional="")
        return [experts, blocks * size * 2, outputs]

    def unpack(
        self, weight: str, parts: Mapping[str, torch.Tensor], dtype: torch.dtype
    ) -> torch.Tensor:
        numbers = torch.tensor([*_NUMBERS, *(-number for number in _NUMBERS)], dtype=dtype)
        shapes = {name: list(part.shape) for name, part in parts.items()}
        made = torch.empty(self.shape(weight, shapes), dtype=dtype)
        for expert, (packed, scales) in enumerate(zip(parts[BLOCKS], parts[SCALES], strict=True)):
            nibbles = torch.stack((packed & 15, packed >> 4), dim=-1).int()
            exponents = scales.int() - _BIAS
            made[expert] = torch.ldexp(numbers[nibbles], exponents[..., None, None]).flatten(1).T
        return made
