"""A model on meta made one rank's part of it, by the plan that transformers has for its class:
which layers have a part of their outputs, which of their inputs, and where ranks meet.

What a plan does not name is whole in every rank. Attention heads stay whole; where there are fewer
key heads than ranks, several ranks have the same one.
"""

import re
from typing import Any, NamedTuple

import torch
from torch import nn

from ...protocol.errors import EngineError
from ..layers.divided import InputsDivided, OutputsGathered
from ..layers.replacing import put
from ..ranks.cut import Cut, equal_part
from ..ranks.gang import Ranks
from .parts import ModelParts, path_of

Cuts = dict[str, Cut]
"""By the path of a weight in the whole model."""

WHOLE = {
    "replicate",
    "replicated_with_grad_allreduce",
    "mla_kv_a_proj",
    "local_params",
    "embedding_rowwise",
    "embedding_colwise",
}
"""Styles of transformers' plans that leave a layer as it is; embeddings are looked up in every
rank."""
GATHERED = {"colwise_gather_output", "colwise_rep"}
INPUTS = {"rowwise": False, "rowwise_rep": False, "rowwise_split_input": True}
"""Whether the layer is called with all of its inputs."""
SUMMED = {"moe_tp_experts", "all_reduce"}
OUTPUT_AXIS, INPUT_AXIS = -2, -1
STACKED = {
    "colwise": (OUTPUT_AXIS, 1),
    "rowwise": (INPUT_AXIS, 1),
    "packed_colwise": (OUTPUT_AXIS, 2),
    "packed_rowwise": (INPUT_AXIS, 2),
}
"""Of the experts of a layer in one weight: the axis, and how many pieces lie along it."""
KEYS = ("k_proj", "v_proj")
ALIGNED = 8
"""Numbers: torch's product of stacked experts takes no rows of another length."""
_NUMBER = re.compile(r"\.\d+(?=\.|$)")


class _Owner(NamedTuple):
    """Where a layer lies."""

    module: Any
    name: str
    path: str


def divide_model(parts: ModelParts, ranks: Ranks) -> tuple[ModelParts, Cuts]:
    """The parts as they are then, and what of the stored weights they take. Raises EngineError
    where there is no plan, and for sizes that so many ranks do not divide."""
    if ranks.size == 1:
        return parts, {}
    plan = dict(getattr(parts.decoder, "tp_plan", None) or {})
    if not plan.keys() - {"embed_tokens"}:
        raise EngineError(
            f"transformers has no plan by which {type(parts.decoder).__name__} could be divided: "
            f"leave tensor_parallel_size out, or choose another model."
        )
    made = _Dividing(path_of(parts.whole, parts.decoder), ranks)
    for path, module in list(parts.decoder.named_modules()):
        made.visit(parts.decoder, path, module, plan)
    return parts._replace(head=made.head(parts)), made.cuts


class _Dividing:
    def __init__(self, within: str, ranks: Ranks) -> None:
        """`within`: the decoder's path."""
        self.cuts: Cuts = {}
        self._within, self._ranks = within, ranks

    def visit(self, decoder: nn.Module, path: str, module: nn.Module, plan: dict[str, str]) -> None:
        style = plan.get(_NUMBER.sub(".*", path))
        parent, _, name = path.rpartition(".")
        if style is not None and path and style not in WHOLE:
            if style in SUMMED:
                module.register_forward_hook(self._summed)
            elif type(module) is nn.Linear:
                owner = _Owner(decoder.get_submodule(parent), name, self._full(path))
                put(decoder, path, self._linear(owner, module, style))
            elif not isinstance(module, InputsDivided | OutputsGathered):
                raise _unknown(path, style)
        for key, weight in list(module._parameters.items()):
            named = f"{path}.{key}" if path else key
            style = plan.get(_NUMBER.sub(".*", named))
            if weight is None or style is None or style in WHOLE:
                continue
            if style not in STACKED or weight.ndim != 3:
                raise _unknown(named, style)
            axis, pieces = STACKED[style]
            self._refuse_odd(named, weight.shape[axis], pieces, ALIGNED)
            made = self._cut(f"{self._full(path)}.{key}", weight, axis, pieces)
            module._parameters[key] = made

    def head(self, parts: ModelParts) -> nn.Module:
        """A part of the vocabulary, where that can be divided."""
        head = parts.head
        if type(head) is not nn.Linear or head.out_features % self._ranks.size:
            return head
        path = path_of(parts.whole, head)
        made = OutputsGathered(head, self._ranks)
        self._cut(f"{path}.weight", head.weight, 0)
        if head.bias is not None:
            self._cut(f"{path}.bias", head.bias, 0)
        put(parts.whole, path, made)
        return made

    def _linear(self, owner: _Owner, layer: nn.Linear, style: str) -> nn.Module:
        size = self._ranks.size
        if style in GATHERED:
            if layer.out_features % size:
                return layer
            self._outputs(owner, layer, 1)
            return OutputsGathered(layer, self._ranks)
        if style in INPUTS:
            self._refuse_odd(owner.path, layer.in_features, 1)
            self._cut(f"{owner.path}.weight", layer.weight, 1)
            return InputsDivided(layer, self._ranks, INPUTS[style])
        if style == "packed_colwise":
            self._refuse_odd(owner.path, layer.out_features, 2)
            return self._plain(owner, layer, 2)
        if style != "colwise":
            raise _unknown(owner.path, style)
        if getattr(owner.module, "head_dim", None) and owner.name in KEYS:
            return self._keys(owner, layer)
        self._refuse_heads(owner)
        self._refuse_odd(owner.path, layer.out_features, 1)
        return self._plain(owner, layer, 1)

    def _keys(self, owner: _Owner, layer: nn.Linear) -> nn.Linear:
        """Of whole heads; of one that several ranks have, where there are fewer."""
        rank, size, width = self._ranks.rank, self._ranks.size, int(owner.module.head_dim)
        heads = layer.out_features // width
        self._refuse_heads(owner)
        if heads % size == 0:
            made = self._plain(owner, layer, 1)
        elif size % heads == 0:
            first = rank * heads // size * width
            made = self._plain(owner, layer, 1, ((first, width),))
        else:
            raise EngineError(
                f"tensor_parallel_size={size} neither divides the {heads} key heads of "
                f"{owner.path} nor is a multiple of them: choose another number."
            )
        query = owner.module.config.num_attention_heads // size
        if hasattr(owner.module, "num_key_value_groups"):
            owner.module.num_key_value_groups = query // (made.out_features // width)
        return made

    def _plain(
        self,
        owner: _Owner,
        layer: nn.Linear,
        pieces: int,
        stretches: tuple[tuple[int, int], ...] | None = None,
    ) -> nn.Linear:
        """With a part of the outputs."""
        outputs = self._outputs(owner, layer, pieces, stretches)
        weight, biased = layer.weight, layer.bias is not None
        return nn.Linear(
            layer.in_features, outputs, biased, device=weight.device, dtype=weight.dtype
        )

    def _outputs(
        self,
        owner: _Owner,
        layer: nn.Linear,
        pieces: int,
        stretches: tuple[tuple[int, int], ...] | None = None,
    ) -> int:
        """How many; `stretches` are of the outputs, where they are no equal part."""
        for key in ("weight", "bias"):
            weight = getattr(layer, key)
            if weight is None:
                continue
            self._cut(f"{owner.path}.{key}", weight, 0, pieces)
            if stretches is not None:
                self.cuts[f"{owner.path}.{key}"] = Cut(0, stretches, weight.shape)
        return sum(count for _, count in self.cuts[f"{owner.path}.weight"].stretches)

    def _cut(self, path: str, weight: torch.Tensor, axis: int, pieces: int = 1) -> nn.Parameter:
        axis %= weight.ndim
        part = equal_part(weight.shape, axis, self._ranks.rank, self._ranks.size, pieces)
        self.cuts[path] = part
        return nn.Parameter(part.of(weight.detach()), requires_grad=False)

    def _summed(self, module: nn.Module, given: Any, out: Any) -> Any:
        if isinstance(out, tuple):
            return (self._ranks.sum(out[0]), *out[1:])
        return self._ranks.sum(out)

    def _full(self, path: str) -> str:
        return ".".join(filter(None, (self._within, path)))

    def _refuse_heads(self, owner: _Owner) -> None:
        """A head is never cut."""
        if not any(getattr(owner.module, name, None) for name in ("head_dim", "qk_head_dim")):
            return
        config = getattr(owner.module, "config", None)
        heads = getattr(config, "num_attention_heads", None)
        if heads is not None and heads % self._ranks.size:
            raise EngineError(
                f"tensor_parallel_size={self._ranks.size} does not divide the {heads} attention "
                f"heads of the model: choose a divisor."
            )

    def _refuse_odd(self, path: str, length: int, pieces: int, unit: int = 1) -> None:
        if length % (pieces * self._ranks.size * unit):
            parts = f" into parts of whole {unit}s" if unit > 1 else ""
            raise EngineError(
                f"tensor_parallel_size={self._ranks.size} does not divide {path} of the model, "
                f"which is {length // pieces} wide{parts}: choose a divisor."
            )


def _unknown(path: str, style: str) -> EngineError:
    return EngineError(
        f"The plan by which transformers divides the model asks for {path} to be {style!r}, which "
        f"is not built: leave tensor_parallel_size out."
    )
