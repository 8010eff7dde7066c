"""Rotary positions whose frequencies depend on lengths (longrope, dynamic NTK): fixed per sequence
by its prompt.

transformers chooses them by the longest sequence of a call. In a flat step that would be the
longest of all, and a token's keys would depend on chunks and company; each sequence has those that
`generate` would choose for its prompt alone.
"""

import copy
import inspect
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...protocol.bounded import Bounded
from ..layers.replacing import replace_modules

KEPT = 1024
"""Lengths whose frequencies are remembered."""


class LengthRope(nn.Module):
    """In the place of one rotary module of transformers; `begin` is called once a step."""

    def __init__(self, rotary: nn.Module) -> None:
        super().__init__()
        self._rotary = rotary
        self._turn: Any = inspect.unwrap(type(rotary).forward)
        """Cosines and sines by the module's frequencies as they are: without its look at the
        lengths."""
        self._lengths: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._chosen: Bounded[tuple[int, *tuple[Any, ...]], Any] = Bounded(KEPT)
        """By length and what else the module is asked for: the frequencies of some differ from
        layer type to layer type."""
        self._distinct: WeakValueDictionary[bytes, Any] = WeakValueDictionary()
        """Those that are chosen, by their frequencies."""

    def begin(self, lengths: NDArray[np.int64]) -> None:
        """`lengths` [tokens]: of each token's sequence, the positions that its prompt takes."""
        self._lengths = lengths

    def forward(
        self, x: torch.Tensor, position_ids: torch.Tensor, **more: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`position_ids` [..., tokens]; cosines and sines [..., tokens, dim]."""
        rotaries = [self._for(int(length), x, position_ids, more) for length in self._lengths]
        kinds = list({id(one): one for one in rotaries}.values())
        if len(kinds) == 1:
            cos, sin = self._turn(kinds[0], x, position_ids, **more)
            return cos, sin
        whole: list[torch.Tensor] = []
        for kind in kinds:
            where = torch.tensor([one is kind for one in rotaries], device=x.device)
            for index, part in enumerate(self._turn(kind, x, position_ids[..., where], **more)):
                if len(whole) <= index:
                    whole.append(part.new_empty((*part.shape[:-2], len(rotaries), part.shape[-1])))
                whole[index][..., where, :] = part
        return whole[0], whole[1]

    def _for(
        self, length: int, x: torch.Tensor, position_ids: torch.Tensor, more: dict[str, Any]
    ) -> Any:
        """A copy of the module with the frequencies that it chooses for one sequence of `length`
        positions."""
        asked = (length, *more.values())
        rotary: Any = self._chosen.use(asked)
        if rotary is None:
            rotary = copy.copy(self._rotary)
            buffers = self._rotary._buffers.items()
            rotary._buffers = {name: each.clone() for name, each in buffers if each is not None}
            rotary(x, position_ids.new_full((*position_ids.shape[:-1], 1), length - 1), **more)
            key = b"".join(buffer.cpu().numpy().tobytes() for buffer in rotary._buffers.values())
            rotary = self._chosen[asked] = self._distinct.setdefault(key, rotary)
        return rotary


def fix_lengths(decoder: nn.Module) -> list[LengthRope]:
    """Replace every rotary module of `decoder` whose frequencies depend on lengths."""
    found: list[LengthRope] = []

    def fixed(child: nn.Module) -> LengthRope | None:
        kinds: Any = getattr(child, "rope_type", None) or ""
        kinds = kinds.values() if isinstance(kinds, dict) else [kinds]
        if not any("dynamic" in kind or kind == "longrope" for kind in kinds):
            return None
        found.append(LengthRope(child))
        return found[-1]

    replace_modules(decoder, fixed)
    return found
