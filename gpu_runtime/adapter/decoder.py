"""The decoder of any model of transformers on one flat step."""

from typing import Any

import torch

from ..attention.paged import PagedAttention
from ..layers.linear import replace_linears
from . import attention as ours
from .rope import fix_lengths
from .step import StepInputs


class TransformersDecoder:
    """Takes the module over: its attention, linear layers and rotary positions are replaced."""

    def __init__(self, decoder: Any, planes: int) -> None:
        """`planes`: rotary positions of one token."""
        ours.register()
        decoder.set_attn_implementation(ours.NAME)
        replace_linears(decoder)
        self._decoder = decoder
        self._planes = planes
        self._ropes = fix_lengths(decoder)

    def __call__(self, step: StepInputs, attention: PagedAttention) -> torch.Tensor:
        for rope in self._ropes:
            rope.begin(step.lengths)
        more: dict[str, Any] = {}
        if step.deep is not None:
            more = {"visual_pos_masks": step.deep.mask[None], "deepstack_visual_embeds": list(step.deep.rows)}
        out = self._decoder(
            inputs_embeds=step.embeds[None],
            position_ids=self._position_ids(step.positions),
            attention_mask=None,
            use_cache=False,
            paged=attention,
            **more,
        )
        hidden: torch.Tensor = out.last_hidden_state[0]
        return hidden

    def _position_ids(self, positions: torch.Tensor) -> torch.Tensor:
        """[1, tokens], or [planes, 1, tokens]."""
        if self._planes == 1:
            return positions[None] if positions.ndim == 1 else positions[:1]
        return positions.expand(self._planes, -1)[:, None]
