"""Embeddings of token ids as a model's own forward makes them: some scale what they look up, and
not what they are given."""

from typing import Any

import torch

from ..inspection.hearing import first_call
from ..inspection.measure import decoder_layers
from .parts import ModelParts

TOKENS = 2


@torch.inference_mode()
def scale_of(parts: ModelParts, device: torch.device) -> float:
    """By how much the first layer's input for ids is larger than for what the table has for them.
    1.0 where that is no number: whether it is right is the self-check's to say."""
    ones = torch.ones(1, TOKENS, next(parts.embedding.parameters()).shape[-1], device=device)
    ids = torch.zeros(1, TOKENS, dtype=torch.int64, device=device)
    hook = parts.embedding.register_forward_hook(lambda module, given, out: ones)
    try:
        looked_up = _first_input(parts, input_ids=ids)
        given = _first_input(parts, inputs_embeds=ones)
    finally:
        hook.remove()
    if looked_up is None or given is None or not torch.equal(given, ones):
        return 1.0
    if looked_up.shape != ones.shape:
        return 1.0
    scale = looked_up.flatten()[0]
    return float(scale) if bool((looked_up == scale).all()) else 1.0


def _first_input(parts: ModelParts, **asked: torch.Tensor) -> Any:
    """[1, tokens, hidden]; None where the forward does not come to it."""
    layer = decoder_layers(parts.whole)[0]
    heard = first_call(layer, lambda: parts.decoder(**asked, use_cache=False))
    return None if heard is None else heard.argument(0, "hidden_states")
