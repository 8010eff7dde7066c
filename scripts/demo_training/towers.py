"""The two towers on batches of equal shape.

transformers' forward cuts the flat sequence of a batch into one attention call for each picture or
sound, which is slow on many small ones. Here all items of a batch have one shape, so each layer is
one call. `verify` in equality.py proves the equality with transformers' own forward.
"""

from typing import Any

import torch
import torch.nn.functional as F
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import apply_rotary_pos_emb_vision
from transformers.vision_utils import get_vision_position_ids

from .features import MERGE


def vision_tokens(visual: Any, patches: torch.Tensor, down: int, across: int) -> torch.Tensor:
    """[pictures, patches, values] to [pictures, patches / 4, hidden]; every layer attends over one
    whole picture."""
    items, count, _ = patches.shape
    weight = visual.patch_embed.proj.weight
    hidden = F.linear(patches, weight.reshape(weight.shape[0], -1))
    position_ids = get_vision_position_ids(torch.tensor([[1, down, across]]), MERGE)
    cos, sin = visual.rotary_pos_emb(hidden, position_ids)
    for block in visual.blocks:
        attention = block.attn
        normed = block.norm1(hidden)
        query, key, value = (
            project(normed).view(items, count, attention.num_heads, -1)
            for project in (attention.q, attention.k, attention.v)
        )
        query, key = apply_rotary_pos_emb_vision(query, key, cos, sin)
        mixed = F.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        )
        hidden = hidden + attention.proj(mixed.transpose(1, 2).reshape(items, count, -1))
        hidden = hidden + block.mlp(block.norm2(hidden))
    merged: torch.Tensor = visual.merger(hidden)
    return merged.view(items, count // MERGE**2, -1)


def sound_tokens(tower: Any, features: torch.Tensor) -> torch.Tensor:
    """[sounds, mel bins, frames] to [sounds, tokens, hidden], for sounds within one chunk of the
    tower."""
    assert features.shape[2] <= 2 * tower.n_window
    hidden = F.gelu(tower.conv1(features))
    hidden = F.gelu(tower.conv2(hidden)).transpose(1, 2)
    items, count, _ = hidden.shape
    hidden = hidden + tower.positional_embedding.positional_embedding[:count]
    for layer in tower.layers:
        attention = layer.self_attn
        normed = layer.self_attn_layer_norm(hidden)
        query, key, value = (
            project(normed).view(items, count, attention.num_heads, -1).transpose(1, 2)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        hidden = hidden + attention.out_proj(mixed.transpose(1, 2).reshape(items, count, -1))
        hidden = hidden + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(hidden))))
    pairs = (count - 2) // 2 + 1
    hidden = hidden[:, : 2 * pairs].view(items, pairs, 2, -1).mean(2)
    tokens: torch.Tensor = tower.proj(tower.ln_post(hidden))
    return tokens
