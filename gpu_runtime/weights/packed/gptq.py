"""GPTQ's layout: numbers of two, four or eight bits in an int32, along the inputs; zeros likewise,
along the outputs; scales and zeros by groups of inputs, which may lie in any order."""

from collections.abc import Mapping
from typing import Any

import torch

from .form import BrokenParts, check_parts, split_name

NUMBERS, ZEROS, SCALES, OWNERS = "qweight", "qzeros", "scales", "g_idx"
WORD = 32
STEP = 64
"""Words of each output that are taken apart at once: what is made of them is several times as
large."""


class Gptq:
    """`stated`: the quantization_config of config.json."""

    def __init__(self, stated: Mapping[str, Any]) -> None:
        self._bits = int(stated["bits"])
        self._group = int(stated.get("group_size", 128))
        """Inputs that share a scale where the weight does not say it itself; -1: all of them."""
        self._less = 1 if str(stated.get("checkpoint_format", "gptq")) == "gptq" else 0
        """What a stored zero lacks to the zero."""
        self._per_word = WORD // self._bits

    def part_of(self, name: str) -> tuple[str, str] | None:
        return split_name(name, (NUMBERS, ZEROS, SCALES, OWNERS))

    def shape(self, weight: str, parts: Mapping[str, list[int]]) -> list[int]:
        words, outputs = parts[NUMBERS]
        inputs = words * self._per_word
        groups = -(-inputs // self._size(inputs))
        wanted = {SCALES: [groups, outputs], ZEROS: [groups, outputs // self._per_word]}
        check_parts(parts, wanted | {OWNERS: [inputs]}, optional=OWNERS)
        return [outputs, inputs]

    def unpack(
        self, weight: str, parts: Mapping[str, torch.Tensor], dtype: torch.dtype
    ) -> torch.Tensor:
        numbers, scales = parts[NUMBERS], parts[SCALES].float()
        words, outputs = numbers.shape
        inputs = words * self._per_word
        zeros = (self._fields(parts[ZEROS].T).T + self._less) & ((1 << self._bits) - 1)
        owners = parts.get(OWNERS, torch.arange(inputs) // self._size(inputs)).long()
        if not bool(((owners >= 0) & (owners < len(scales))).all()):
            raise BrokenParts(f"its {OWNERS} name a group that there is not")
        made = torch.empty(outputs, inputs, dtype=dtype)
        for first in range(0, words, STEP):
            rows = slice(first * self._per_word, (first + STEP) * self._per_word)
            of = owners[rows]
            wide = (self._fields(numbers[first : first + STEP]) - zeros[of]) * scales[of]
            made[:, rows] = wide.T.to(dtype)
        return made

    def _size(self, inputs: int) -> int:
        return inputs if self._group < 1 else self._group

    def _fields(self, words: torch.Tensor) -> torch.Tensor:
        """[n, columns] int32 to [n * numbers in a word, columns], in order."""
        shifts = torch.arange(0, WORD, self._bits, dtype=torch.int32)[:, None]
        return ((words[:, None] >> shifts) & ((1 << self._bits) - 1)).flatten(0, 1)
