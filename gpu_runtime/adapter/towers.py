"""Where the towers lie in a whole model of transformers, and how they are called."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ...protocol.requests.request import MODALITIES, Modality
from .own_towers import OWN
from .parts import path_of

Encode = Callable[[dict[str, torch.Tensor], int], list[torch.Tensor]]
"""An item's tensors and its number of rows, to [rows, hidden] per level: the embedding, then what
further layers add."""


@dataclass
class Towers:
    """Of one whole model."""

    owner: Any
    """The module that has `get_..._features`."""
    roots: list[str]
    """Paths of what they are made of; []: none of the modalities has one."""
    without: list[str]
    """Paths below `roots` that they do not need."""
    own: dict[str, Callable[..., torch.Tensor]]
    """Of models without `get_..._features`: by kind."""

    def encoder(self, kind: str) -> Encode:
        """Raises ValueError where the model has no tower for this kind."""
        own = self.own.get(kind)
        if own is not None:
            return lambda tensors, rows: [own(self.owner, rows, **tensors)]
        method = getattr(self.owner, f"get_{kind}_features", None)
        if method is None:
            raise ValueError(f"the model has no tower for kind {kind!r}")
        taken = set(inspect.signature(method).parameters)
        return lambda tensors, _: _call(method, taken, tensors)


def _call(
    method: Callable[..., Any], taken: set[str], tensors: dict[str, torch.Tensor]
) -> list[torch.Tensor]:
    # A mask that keeps everything is for the model's own forward, which pads sounds of one batch:
    # an item is alone.
    others = sorted(tensors.keys() - taken)
    unknown = [name for name in others if not ("mask" in name and bool(tensors[name].all()))]
    if unknown:
        raise ValueError(f"the tower does not take {', '.join(unknown)}")
    found = method(**{name: tensor for name, tensor in tensors.items() if name in taken})
    pooled = getattr(found, "pooler_output", None)
    rows = found.last_hidden_state if pooled is None else pooled
    # A sound whose last frames are silence that fills up has a row more than it says, which the
    # model's own forward leaves out.
    heard = getattr(found, "attention_mask", None)
    if heard is not None and isinstance(rows, torch.Tensor) and heard.shape == rows.shape[:-1]:
        rows = rows[heard.to(rows.device, torch.bool)]
    return [_flat(level) for level in (rows, *(getattr(found, "deepstack_features", None) or ()))]


def _flat(rows: Any) -> torch.Tensor:
    """A tensor, or one per item or tile, to [rows, hidden]."""
    if isinstance(rows, torch.Tensor):
        return rows.reshape(-1, rows.shape[-1])
    return torch.cat([_flat(one) for one in rows])


def find_towers(whole: PreTrainedModel, modalities: Sequence[Modality]) -> Towers:
    """The towers of these modalities: all of the model's body but its decoder, and the towers of
    the others."""
    row = OWN.get(whole.config.model_type)
    body: Any = getattr(whole, whole.base_model_prefix, whole) if whole.base_model_prefix else whole
    own = {} if row is None else row.encode
    kinds = [kind for kind in MODALITIES if kind in own or hasattr(body, f"get_{kind}_features")]
    kept = [kind for kind in kinds if kind in modalities]
    if not kept:
        return Towers(body, [], [], own)
    path = path_of(whole, body)
    seeing = row is not None and row.seeing
    for module in body.get_submodule(seeing).modules() if seeing else ():
        if hasattr(module, "is_causal"):
            module.is_causal = False
    if row is not None and row.inside:
        return Towers(body, [f"{path}.{part}" for part in row.inside], [], own)
    model: Any = whole  # half of what is asked of it has no types
    without = [model.get_decoder(), model.get_input_embeddings(), model.get_output_embeddings()]
    needed = [_encoder(body, kind) for kind in kept]
    unneeded = [_encoder(body, kind) for kind in kinds if kind not in kept]
    without += [module for module in unneeded if module not in needed]
    unneeded_paths = [path_of(whole, module) for module in without if module is not None]
    return Towers(body, [path], unneeded_paths, own)


def _encoder(body: Any, kind: Modality) -> nn.Module | None:
    """The tower of one kind; None where transformers does not say which it is."""
    found = body.get_encoder(modality=kind)
    return None if found is body else found
