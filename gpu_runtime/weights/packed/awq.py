"""AWQ's GEMM layout: eight numbers of four bits in an int32, along the outputs and out of order;
zeros and scales by groups."""

from collections.abc import Mapping
from typing import Any

import torch

from .form import check_parts, split_name

NUMBERS, ZEROS, SCALES = "qweight", "qzeros", "scales"
PER_WORD = 8
_PLACES = (0, 4, 1, 5, 2, 6, 3, 7)
"""In which nibble of a word, from the lowest, each of eight neighbours lies."""


class Awq:
    """`stated`: the quantization_config of config.json."""

    def __init__(self, stated: Mapping[str, Any]) -> None:
        self._group = int(stated.get("group_size", stated.get("q_group_size", 128)))
        """Inputs that share a scale; -1: all of them."""

    def part_of(self, name: str) -> tuple[str, str] | None:
        return split_name(name, (NUMBERS, ZEROS, SCALES))

    def shape(self, weight: str, parts: Mapping[str, list[int]]) -> list[int]:
        inputs, words = parts[NUMBERS]
        groups = 1 if self._group < 1 else -(-inputs // self._group)
        wanted = {SCALES: [groups, words * PER_WORD], ZEROS: [groups, words]}
        check_parts(parts, wanted, optional=ZEROS)
        return [words * PER_WORD, inputs]

    def unpack(
        self, weight: str, parts: Mapping[str, torch.Tensor], dtype: torch.dtype
    ) -> torch.Tensor:
        scales = parts[SCALES].float()
        middle = torch.full(scales.shape, 8, dtype=torch.int8)
        zeros = _nibbles(parts[ZEROS]) if ZEROS in parts else middle
        inputs, words = parts[NUMBERS].shape
        group = inputs if self._group < 1 else self._group
        made = torch.empty(words * PER_WORD, inputs, dtype=dtype)
        for number in range(len(scales)):
            rows = slice(number * group, (number + 1) * group)
            wide = (_nibbles(parts[NUMBERS][rows]) - zeros[number]) * scales[number]
            made[:, rows] = wide.T.to(dtype)
        return made


def _nibbles(words: torch.Tensor) -> torch.Tensor:
    """[rows, n] int32 to [rows, 8 n] int8, in order."""
    shifts = torch.tensor([4 * place for place in _PLACES], dtype=torch.int32)
    return ((words[..., None] >> shifts) & 15).to(torch.int8).flatten(-2)
