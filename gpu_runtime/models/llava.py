"""LLaVA-1.5: a CLIP or SigLIP tower with a projector, and a text model of its own type (Llama, Mistral, Qwen2 ...)."""

from typing import Any

import torch
from torch import nn
from transformers.models.llava.configuration_llava import LlavaConfig
from transformers.models.llava.modeling_llava import LlavaModel

from ..family import Tensors

MODEL_TYPES = ("llava",)
TOWERS = {"vision_tower": ("image",), "multi_modal_projector": ("image",)}
RENAMES = (
    (r"^language_model\.lm_head\.", "lm_head."),
    (r"^language_model\.model\.", "model.language_model."),
    (r"^(language_model|vision_tower|multi_modal_projector)\.", r"model.\1."),
    (r"^model\.vision_tower\.vision_model\.", "model.vision_tower."),
)


def build(config: dict[str, Any]) -> nn.Module:
    return LlavaModel(LlavaConfig.from_dict(config))


def encode(model: Any, modality: str, items: list[Tensors]) -> list[torch.Tensor]:
    if modality != "image":
        raise ValueError(f"this family has no {modality} tower")
    dtype = next(model.parameters()).dtype
    pixels = torch.cat([item["pixel_values"] for item in items]).to(dtype)  # [items, 3, H, W]
    return list(model.get_image_features(pixels).pooler_output)
