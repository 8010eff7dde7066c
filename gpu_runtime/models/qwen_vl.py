"""Qwen2-VL: one vision tower for images and clips and a Qwen2 text model with three-plane rotary positions."""

from typing import Any

import torch
from torch import nn
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel

from ..family import Tensors
from ..patches import encode_patches

MODEL_TYPES = ("qwen2_vl",)
TOWERS = {"visual": ("image", "video")}
RENAMES = (
    (r"^visual\.", "model.visual."),
    (r"^model\.(?!language_model\.|visual\.)", "model.language_model."),
)


def build(config: dict[str, Any]) -> nn.Module:
    return Qwen2VLModel(Qwen2VLConfig.from_dict(config))


def encode(model: Any, modality: str, items: list[Tensors]) -> list[torch.Tensor]:
    return encode_patches(model, modality, items)
