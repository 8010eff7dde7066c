"""The towers of a checkpoint: features in, embeddings out. Only the towers' weights are read here."""

from collections.abc import Sequence

import torch
from torch import nn

from ..protocol.facts import ModelFacts
from ..protocol.request import MODALITIES, Modality
from .device import prepare
from .family import Family, Tensors, build_on_meta, load_family
from .weights import WeightFiles, load_part, read_config


class Encoder:
    """Batches items of one modality through the family's towers."""

    def __init__(self, family: Family, model: nn.Module, dtype: torch.dtype, device: torch.device) -> None:
        self._family = family
        self._model = model
        self._device = device
        self.dtype = dtype
        """Of the embeddings."""

    @torch.inference_mode()
    def encode(self, modality: str, items: list[Tensors]) -> list[torch.Tensor]:
        """One [rows, hidden] of `dtype` on the CPU per item. An item's rows do not depend on the others beyond float noise.

        Raises whatever torch raises for features that do not fit the towers; the caller then tries the items one by one.
        """
        placed = [{name: tensor.to(self._device) for name, tensor in item.items()} for item in items]
        rows = self._family.encode(self._model, modality, placed)
        return [row.to(device="cpu", dtype=self.dtype) for row in rows]


def load_encoder(
    model: ModelFacts, dtype: str, device: str, threads: int, modalities: Sequence[Modality] = MODALITIES
) -> Encoder:
    """Read the towers of these modalities. Raises EngineError where the checkpoint does not hold them."""
    place = prepare(device, threads)
    family = load_family(model.model_type)
    kind = getattr(torch, dtype)
    checkpoint = WeightFiles(model.path, family.RENAMES)
    towers = tuple(tower for tower, takes in family.TOWERS.items() if not set(takes).isdisjoint(modalities))
    whole = build_on_meta(family, read_config(model.path), towers)
    for tower in towers:
        load_part(whole.get_submodule(tower), f"model.{tower}.", checkpoint, kind, place)
    return Encoder(family, whole.eval(), kind, place)
