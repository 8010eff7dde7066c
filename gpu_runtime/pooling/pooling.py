"""From a prompt's hidden states, which come chunk by chunk, to its vectors."""

import math
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import normalize

from ...protocol.requests.pooling import Pooler, PoolingParams


class Pooling:
    """Of one sequence: what must be kept of the states so far. Lost with it, and made anew from its
    tokens."""

    def __init__(
        self, params: PoolingParams, pooler: Pooler, dense: Sequence[nn.Module] = ()
    ) -> None:
        """`dense`: the layers of `pooler.dense`; vectors of each token are states, which do not go
        through them."""
        self._params = params
        self._each = params.task != "embed"
        self._take = pooler.take
        self._dense = () if self._each else dense
        asked = params.use_activation
        self._normalize = pooler.normalize if asked is None else asked
        self._kept: torch.Tensor | None = None
        """float32 [1, hidden]: of what is a mean the sum so far, else the state so far."""
        self._rows: list[torch.Tensor] = []
        """Of each token's vectors those so far."""

    def add(self, hidden: torch.Tensor, start: int, last: bool) -> torch.Tensor | None:
        """The states [count, hidden] of the positions from `start` on. With the `last` of them the
        vectors: float32 [rows, width] on the CPU, one row, or one for each token."""
        if self._each:
            self._rows.append(self._made(hidden.float()).cpu())
            return torch.cat(self._rows) if last else None
        self._keep(hidden, start)
        if not last:
            return None
        assert self._kept is not None, "a prompt begins at its first token"
        return self._made(self._kept / self._divisor(start + len(hidden))).cpu()

    def _keep(self, hidden: torch.Tensor, start: int) -> None:
        match self._take:
            case "last":
                self._kept = hidden[-1:].float()
            case "cls" if start == 0:
                self._kept = hidden[:1].float()
            case "max":
                most = hidden.float().amax(0, keepdim=True)
                self._kept = most if self._kept is None else torch.maximum(self._kept, most)
            case "mean" | "mean_sqrt":
                self._sum(hidden.float())
            case "weighted_mean":
                places = torch.arange(start + 1, start + len(hidden) + 1, device=hidden.device)
                self._sum(hidden.float() * places[:, None])

    def _sum(self, states: torch.Tensor) -> None:
        total = states.sum(0, keepdim=True)
        self._kept = total if self._kept is None else self._kept + total

    def _divisor(self, tokens: int) -> float:
        """Of what is kept, by the length of the prompt."""
        divisors = {
            "mean": tokens,
            "mean_sqrt": math.sqrt(tokens),
            "weighted_mean": tokens * (tokens + 1) / 2,
        }
        return divisors.get(self._take, 1)

    def _made(self, states: torch.Tensor) -> torch.Tensor:
        for layer in self._dense:
            states = layer(states)
        cut = states[:, : self._params.dimensions]
        return normalize(cut, dim=-1) if self._normalize else cut
