"""The decoder of the Llama and Qwen2 architectures with little Python per step: fused projections,
in-place rotary turns.

Equal to transformers' own modules within float noise (tests hold it to 1e-4) and used for the
architectures listed here only; all others run through transformers' code.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..adapter.step import StepInputs
from ..attention.paged import PagedAttention
from ..layers.how import How
from ..layers.rowwise import Rowwise, rowwise_for
from ..layers.serving import AnyLinear, join

ARCHITECTURES = {
    "LlamaModel",
    "MistralModel",
    "Qwen2Model",
    "Qwen2VLTextModel",
    "Qwen2_5_VLTextModel",
    "Qwen2_5OmniThinkerTextModel",
}
STATIC_ROPE = {"default", "linear", "llama3", "yarn", "mrope"}
"""Rotary types whose frequencies do not depend on the lengths in the batch."""
PLANES = 3
"""Of rotary positions, in those architectures that have more than one: time, height and width."""


@dataclass(frozen=True)
class Layer:
    norm1: torch.Tensor
    qkv: AnyLinear
    """[hidden] to query, key and value heads, side by side; the halves of each query and key head
    interleaved."""
    out: AnyLinear
    norm2: torch.Tensor
    gate_up: AnyLinear
    down: AnyLinear
    how: How


def can_fuse(model: Any) -> bool:
    """Whether this text model of transformers can be fused."""
    return (
        type(model).__name__ in ARCHITECTURES
        and model.config.hidden_act in {"silu", "swish"}
        and model.rotary_emb.rope_type in STATIC_ROPE
        and 2 * model.rotary_emb.inv_freq.numel() == model.layers[0].self_attn.head_dim
    )


def fuse(model: Any, kernels: object = None) -> "FusedDecoder":
    """Take the weights out of a loaded text model of transformers, layer by layer; the model is
    hollow afterwards. `kernels`: native ones, if there are any, for what lies between the
    products."""
    attention = model.layers[0].self_attn
    heads = attention.q_proj.out_features // attention.head_dim
    kv_heads = attention.k_proj.out_features // attention.head_dim
    layers: list[Layer] = []
    for index, layer in enumerate(model.layers):
        layers.append(_fuse_layer(layer, model.config))
        model.layers[index] = nn.Identity()  # one layer in memory twice, not all
    rotary = model.rotary_emb
    sections = getattr(rotary, "mrope_section", None)
    norm = model.norm.weight.detach()
    widths = (len(norm), attention.head_dim, model.config.intermediate_size)
    planes = None if sections is None else np.repeat(np.arange(len(sections)) % PLANES, sections)
    return FusedDecoder(
        layers,
        norm,
        float(model.norm.variance_epsilon),
        (heads, kv_heads, attention.head_dim),
        rotary.inv_freq.detach().float(),
        float(rotary.attention_scaling),
        planes,
        rowwise_for(kernels, norm, widths),
    )


def _fuse_layer(layer: Any, config: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    turning = partial(_interleave, head_dim=attention.head_dim)
    return Layer(
        norm1=layer.input_layernorm.weight.detach(),
        qkv=join((attention.q_proj, attention.k_proj, attention.v_proj), (turning, turning)),
        out=join((attention.o_proj,)),
        norm2=layer.post_attention_layernorm.weight.detach(),
        gate_up=join((mlp.gate_proj, mlp.up_proj)),
        down=join((mlp.down_proj,)),
        how=How(scale=float(attention.scaling), window=_window(attention, config)),
    )


def _window(attention: Any, config: Any) -> int | None:
    """As the layer's own class has it: a configuration may state a window that its class does not
    look at."""
    if type(attention).__name__ == "MistralAttention":  # one for all layers
        return getattr(config, "sliding_window", None)
    return getattr(attention, "sliding_window", None)


def _interleave(weight: torch.Tensor, head_dim: int) -> torch.Tensor:
    """Rows of each head from (first half, second half) to pairs that turn together: a rotary turn
    is then one complex product. Query and key are reordered alike, so their products do not
    change."""
    halves = weight.view(-1, 2, head_dim // 2, *weight.shape[1:])
    return halves.transpose(1, 2).reshape(weight.shape)


class FusedDecoder:
    """Runs the layers on one flat step."""

    def __init__(
        self,
        layers: list[Layer],
        norm: torch.Tensor,
        eps: float,
        shape: tuple[int, int, int],
        inv_freq: torch.Tensor,
        magnitude: float,
        planes: NDArray[np.int64] | None,
        rowwise: Rowwise,
    ) -> None:
        self._layers = layers
        self._norm = norm
        self._eps = eps
        self._rowwise = rowwise
        self._heads, self._kv_heads, self._head_dim = shape
        self._inv_freq = inv_freq
        self._magnitude = torch.tensor(magnitude, device=inv_freq.device)
        self._planes = None if planes is None else torch.from_numpy(planes).to(inv_freq.device)
        """int64 [head_dim / 2]: which of the three position planes turns each pair."""
        self.narrows = all(layer.how.window is None for layer in layers)
        """Then the last token of a chunk sees all before it, and what is not finite there."""

    def __call__(self, step: StepInputs, attention: PagedAttention) -> torch.Tensor:
        rowwise, eps = self._rowwise, self._eps
        x = rowwise.begin(step.embeds)
        tokens = x.shape[0]
        turned = self._heads + self._kv_heads
        total = turned + self._kv_heads
        turn = self._turn(step.positions)
        made: torch.Tensor | None = None
        for index, layer in enumerate(self._layers):
            x, normed = rowwise.norm(x, made, layer.norm1, eps)
            qkv = layer.qkv(normed).view(tokens, total, self._head_dim)
            rowwise.turn(qkv, turned, turn)
            kv = qkv[:, self._heads :].view(tokens, 2, self._kv_heads, self._head_dim)
            attended = attention(index, qkv[:, : self._heads], kv, layer.how)
            # All have their keys and values: nobody reads more.
            if layer is self._layers[-1] and step.wanted is not None:
                attended, x = attended[step.wanted], x[step.wanted]
            made = layer.out(attended)
            x, normed = rowwise.norm(x, made, layer.norm2, eps)
            made = layer.down(rowwise.gated(layer.gate_up(normed)))
        return rowwise.norm(x, made, self._norm, eps)[1]

    def _turn(self, positions: torch.Tensor) -> torch.Tensor:
        """complex64 [tokens, 1, head_dim / 2]."""
        if positions.ndim > 1:
            positions = positions[0] if self._planes is None else positions[self._planes].T
        angles = (positions if positions.ndim > 1 else positions[:, None]) * self._inv_freq
        return torch.polar(self._magnitude.expand_as(angles), angles)[:, None]
