"""The decoder of any model of transformers on one flat step."""

from typing import Any

import torch

from ...protocol.facts import ModelFacts
from ..attention.paged import PagedAttention
from ..layers.serving import replace_linears
from . import attention as ours
from .recurrent import Recurrence
from .rope import fix_lengths
from .step import StepInputs


class TransformersDecoder:
    """Takes the module over: its attention, linear and recurrent layers and rotary positions are
    replaced."""

    narrows = False

    def __init__(self, decoder: Any, model: ModelFacts) -> None:
        """Raises Unsupported for a layer whose state cannot be kept for it."""
        decoder.set_attn_implementation(ours.NAME)
        ours.tell_layers(decoder)
        self._recurrence = Recurrence(decoder, model.recurrent)
        replace_linears(decoder)
        self._decoder = decoder
        self._planes = model.position_planes
        self._per_layer = model.per_layer_width > 0
        self._ropes = fix_lengths(decoder)
        self._bound: PagedAttention | None = None

    def __call__(self, step: StepInputs, attention: PagedAttention) -> torch.Tensor:
        if attention is not self._bound:
            ours.bind(self._decoder, attention)
            self._bound = attention
        for rope in self._ropes:
            rope.begin(step.lengths)
        if step.recurrent is not None:
            self._recurrence.begin(step.recurrent)
        more: dict[str, Any] = {}
        if step.items is not None and step.items.deep is not None:
            more["visual_pos_masks"] = step.items.mask[None]
            more["deepstack_visual_embeds"] = list(step.items.deep)
        if self._per_layer:
            more["per_layer_inputs"] = self._decoder.get_per_layer_inputs(step.tokens[None])
        out = self._decoder(
            inputs_embeds=step.embeds[None],
            position_ids=self._position_ids(step.positions),
            attention_mask=None,
            use_cache=False,
            **more,
        )
        hidden: torch.Tensor = out.last_hidden_state[0]
        return hidden.to(step.embeds.dtype)  # some add up in float32

    def _position_ids(self, positions: torch.Tensor) -> torch.Tensor:
        """[1, tokens], or [planes, 1, tokens]."""
        if self._planes == 1:
            return positions[None] if positions.ndim == 1 else positions[:1]
        return positions.expand(self._planes, -1)[:, None]
