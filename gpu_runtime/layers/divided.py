"""Linear layers of which a rank has a part, where the ranks must meet for what they make. One that
has a part of the outputs, which a further layer of the same rank takes, is plain."""

import torch
from torch import nn
from torch.nn import functional as F

from ..ranks.gang import Ranks


class InputsDivided(nn.Linear):
    """A part of the inputs; what comes out is the sum of all ranks'. The first adds the bias."""

    def __init__(self, like: nn.Linear, ranks: Ranks, whole_input: bool) -> None:
        """`like`: whole, on meta. `whole_input`: it is called with all inputs, and takes its
        part."""
        part, biased = like.in_features // ranks.size, like.bias is not None and ranks.is_first
        weight = like.weight
        super().__init__(part, like.out_features, biased, device=weight.device, dtype=weight.dtype)
        self.ranks, self.whole_input = ranks, whole_input

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.ranks.sum(F.linear(self.part_of(x), self.weight, self.bias))

    def part_of(self, x: torch.Tensor) -> torch.Tensor:
        if not self.whole_input:
            return x
        return x.narrow(-1, self.ranks.rank * self.in_features, self.in_features)


class OutputsGathered(nn.Linear):
    """A part of the outputs; what comes out is all ranks', side by side."""

    def __init__(self, like: nn.Linear, ranks: Ranks) -> None:
        """`like`: whole, on meta."""
        weight = like.weight
        part = like.out_features // ranks.size
        super().__init__(
            like.in_features, part, like.bias is not None, device=weight.device, dtype=weight.dtype
        )
        self.ranks = ranks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.ranks.side_by_side(F.linear(x, self.weight, self.bias))


Divided = InputsDivided | OutputsGathered


class Together(nn.Module):
    """One of them as a step calls it: over its product as that is served."""

    def __init__(self, divided: Divided, product: nn.Module) -> None:
        super().__init__()
        self.in_features, self.out_features = divided.in_features, divided.out_features
        self._product, self._ranks = product, divided.ranks
        self._sums = isinstance(divided, InputsDivided)
        self._takes = divided.part_of if isinstance(divided, InputsDivided) else None

    @property
    def weight(self) -> torch.Tensor:
        """Of this rank's part."""
        weight: torch.Tensor = self._product.weight  # type: ignore[assignment]
        return weight

    @property
    def bias(self) -> torch.Tensor | None:
        bias: torch.Tensor | None = self._product.bias  # type: ignore[assignment]
        return bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self._product(x if self._takes is None else self._takes(x))
        return self._ranks.sum(made) if self._sums else self._ranks.side_by_side(made)

    __call__ = forward
