"""From a prompt's hidden states, which come chunk by chunk, to its vectors."""

import torch
from torch.nn.functional import normalize

from ..protocol.pooling import Pooler, PoolingParams


class Pooling:
    """Of one sequence: what must be kept of the states so far. Lost with it, and made anew from its tokens."""

    def __init__(self, params: PoolingParams, pooler: Pooler) -> None:
        self._params = params
        self._take = pooler.take if params.task == "embed" else "all"
        self._normalize = pooler.normalize if params.use_activation is None else params.use_activation
        self._kept: list[torch.Tensor] = []
        """float32: of `mean` the sum, of `cls` the first state, of `all` the rows so far."""

    def add(self, hidden: torch.Tensor, start: int, last: bool) -> torch.Tensor | None:
        """The states [count, hidden] of the positions from `start` on. With the `last` of them the vectors: float32 [rows,
        width] on the CPU, one row, or one for each token."""
        match self._take:
            case "last" if last:
                self._kept = [hidden[-1:].float()]
            case "cls" if start == 0:
                self._kept = [hidden[:1].float()]
            case "mean":
                self._kept = [sum(self._kept, hidden.float().sum(0, keepdim=True))]
            case "all":
                self._kept.append(self._made(hidden.float()).cpu())
        if not last:
            return None
        if self._take == "all":
            return torch.cat(self._kept)
        (state,) = self._kept
        return self._made(state / (start + len(hidden)) if self._take == "mean" else state).cpu()

    def _made(self, states: torch.Tensor) -> torch.Tensor:
        cut = states[:, : self._params.dimensions]
        return normalize(cut, dim=-1) if self._normalize else cut
