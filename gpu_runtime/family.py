"""What a model family gives the torch side: one file in `models/`, found by the `MODEL_TYPES` that it declares."""

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import nn

from ..protocol.checkpoint import find_family
from ..protocol.request import Modality
from .weights import Renames

Tensors = dict[str, torch.Tensor]
"""One item's features, by the name that the family's `get_..._features` takes."""


class Family(Protocol):
    """A module of `gpu_runtime/models`."""

    MODEL_TYPES: tuple[str, ...]
    RENAMES: Renames
    TOWERS: dict[str, tuple[Modality, ...]]
    """Children of the built model that make embeddings, and of what; `language_model` is the other child."""

    def build(self, config: dict[str, Any]) -> nn.Module:
        """The model without its head, on the current (meta) device, from config.json: `language_model` and the towers."""

    def encode(self, model: Any, modality: str, items: list[Tensors]) -> list[torch.Tensor]:
        """One [rows, hidden] per item, batched; items are on the model's device."""


def load_family(model_type: str) -> Family:
    """Raises EngineError naming the known types."""
    name = find_family(Path(__file__).parent / "models", model_type)
    return cast(Family, import_module(f".models.{name}", __package__))


def build_on_meta(family: Family, config: dict[str, Any], keep: tuple[str, ...]) -> nn.Module:
    """The model as `family` builds it, without memory and without the children that are not in `keep`."""
    with torch.device("meta"):
        model = family.build(config)
    for name, _ in list(model.named_children()):
        if name not in keep:
            delattr(model, name)
    return model
