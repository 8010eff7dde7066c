"""Our attention as one of transformers' own implementations: its modules call it, layer by layer,
on one flat step."""

import inspect
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers.modeling_utils import AttentionInterface

from ..attention.paged import PagedAttention
from ..layers.how import How

NAME = "thespis_paged"
_BOUND = "thespis_attention"
_WITHOUT_EFFECT = {
    "position_ids", "position_embeddings", "cache_position", "use_cache", "return_dict",
    "output_attentions", "output_hidden_states", "output_router_logits", "logits_to_keep",
    "visual_pos_masks", "deepstack_visual_embeds",
}  # fmt: skip
"""Keywords of the model's call that it hands down to its attention, which have no say in it."""


class Unsupported(Exception):
    """What a model asks of its attention that ours does not do; the text goes on after "its layer N
    ..."."""


def bind(decoder: nn.Module, paged: PagedAttention) -> None:
    """Have the layers of `decoder` attend through `paged`. Not a keyword of its call: not every
    class hands those down."""
    for module in decoder.modules():
        if hasattr(module, "layer_idx"):
            setattr(module, _BOUND, paged)


def tell_layers(decoder: nn.Module) -> None:
    """Have an attention that several layers share know for which of them it is called: it is told
    at each call."""
    for module in decoder.modules():
        if not hasattr(module, "layer_idx"):
            continue
        if "layer_idx" in inspect.signature(module.forward).parameters:
            module.register_forward_pre_hook(_told, with_kwargs=True)


def _told(module: Any, _: Any, given: dict[str, Any]) -> None:
    module.layer_idx = given.get("layer_idx", module.layer_idx)


def attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    is_causal: bool | None = None,
    dropout: float = 0.0,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """`query` [1, heads, tokens, key_dim], `key` and `value` [1, kv_heads, tokens, key_dim or
    value_dim] of one flat step.

    Raises Unsupported for anything else that is asked.
    """
    layer: int = module.layer_idx
    paged: PagedAttention = getattr(module, _BOUND)
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    _refuse_unknown(others, attention_mask, causal or paged.looks_ahead(layer))
    _, heads, tokens, key_dim = query.shape
    value_dim = value.shape[-1]
    how = How(key_dim**-0.5 if scaling is None else scaling, sliding_window, softcap, s_aux)
    width = paged.width(layer)
    if width != key_dim or width != value_dim:
        query, key, value = (
            F.pad(each, (0, width - each.shape[-1])) for each in (query, key, value)
        )
    kv = torch.stack((key[0].transpose(0, 1), value[0].transpose(0, 1)), dim=1)
    out = paged(layer, query[0].transpose(0, 1), kv, how).view(1, tokens, heads, width)
    return out if width == value_dim else out[..., :value_dim].contiguous(), None


def _refuse_unknown(others: dict[str, Any], mask: torch.Tensor | None, causal: bool) -> None:
    if mask is not None:
        raise Unsupported("gives its attention a mask")
    if not causal:
        raise Unsupported("looks ahead")
    for name, value in others.items():
        if value is not None and name not in _WITHOUT_EFFECT:
            raise Unsupported(f"gives its attention {name!r}")


AttentionInterface.register(NAME, attention)  # and no mask, so that transformers builds none
