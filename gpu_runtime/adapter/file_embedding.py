"""An embedding whose table stays in its file: where the head is that table, memory has it once, in
the head's own layout."""

from typing import Any, cast

import torch
from torch import nn

from ..weights.rows import StoredRows


class FileEmbedding:
    """Takes the module over: what it does to looked-up rows (a scale) is done by its own forward,
    over those of a step."""

    def __init__(self, module: nn.Embedding, rows: StoredRows, dtype: torch.dtype) -> None:
        self._module = cast(Any, module)
        self._module.padding_idx = None  # a row's number means nothing to the module any more
        self._module.weight = None
        self._rows = rows
        self._dtype = dtype

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token ids [tokens] to [tokens, hidden]."""
        rows = self._rows.read(tokens.tolist()).to(self._dtype)
        self._module.weight = nn.Parameter(rows, requires_grad=False)
        embeds: torch.Tensor = self._module(torch.arange(len(rows)))
        self._module.weight = None
        return embeds
