"""The memory of recurrent layers: what they keep of a sequence in place of keys and values, and of
every token before.

Which slot is whose is the scheduler's business, as with KV blocks: a sequence that runs has one,
and others hold snapshots, states at the ends of beginnings that prompts may share.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...protocol.facts import RecurrentGroup


class StatePool:
    """Per recurrent layer, by slot. A slot holds what was last written there; who begins at token 0
    does not look at it."""

    def __init__(
        self, groups: Sequence[RecurrentGroup], slots: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.slots = slots
        self.conv: dict[int, torch.Tensor] = {}
        """By layer that convolves: [slots, *shape] of the model's dtype."""
        self.state: dict[int, torch.Tensor] = {}
        """By layer that has one: [slots, *shape], float32."""
        for group in groups:
            for layer in group.layers:
                if group.conv:
                    self.conv[layer] = torch.zeros(slots, *group.conv, dtype=dtype, device=device)
                if group.state:
                    self.state[layer] = torch.zeros(
                        slots, *group.state, dtype=torch.float32, device=device
                    )

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in self._all())

    def copy(self, source: int, target: int) -> None:
        """Make slot `target` equal to slot `source`."""
        for each in self._all():
            each[target].copy_(each[source])

    def clear(self, slots: Sequence[int]) -> None:
        """Zero what a faulty sequence wrote."""
        for each in self._all():
            for slot in slots:
                each[slot].zero_()

    def _all(self) -> list[torch.Tensor]:
        return [*self.conv.values(), *self.state.values()]


@dataclass
class RecurrentStep:
    """Whose tokens a flat step has: works of one token first, then the others, each with the next
    tokens of one sequence."""

    pool: StatePool
    slots: torch.Tensor
    """int64 [works]: where each work's sequence has its states."""
    offsets: NDArray[np.int64]
    """[works + 1]: where each work's tokens begin in the flat step."""
    fresh: NDArray[np.bool_]
    """[works]: it starts at token 0, so its states are zeros, whatever the slot holds."""
    prompts: NDArray[np.int64]
    """[works]: how many of its tokens, the first ones, are its sequence's prompt's."""
