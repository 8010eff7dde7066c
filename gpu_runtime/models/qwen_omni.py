"""Qwen2.5-Omni's thinker: image, video and audio towers and a Qwen2 text model with three-plane rotary positions."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni as modeling
from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import Qwen2_5OmniThinkerConfig

from ..family import Tensors
from ..patches import encode_patches

MODEL_TYPES = ("qwen2_5_omni_thinker", "qwen2_5_omni")
TOWERS = {"audio_tower": ("audio",), "visual": ("image", "video")}
RENAMES = (
    (r"^thinker\.", ""),
    (r"^(audio_tower|visual)\.", r"model.\1."),
    (r"^model\.(?!language_model\.|visual\.|audio_tower\.)", "model.language_model."),
)


def build(config: dict[str, Any]) -> nn.Module:
    thinker = Qwen2_5OmniThinkerConfig.from_dict(config.get("thinker_config", config))
    if hasattr(modeling, "Qwen2_5OmniThinkerModel"):
        return modeling.Qwen2_5OmniThinkerModel(thinker)
    # transformers before 5.23 has no class without the head; there the text model is called `model`.
    whole = modeling.Qwen2_5OmniThinkerForConditionalGeneration(thinker)
    whole.language_model = whole.model
    del whole.model
    return whole


def encode(model: Any, modality: str, items: list[Tensors]) -> list[torch.Tensor]:
    if modality != "audio":
        return encode_patches(model, modality, items)
    longest = max(item["input_features"].shape[-1] for item in items)
    features = [F.pad(item["input_features"], (0, longest - item["input_features"].shape[-1])) for item in items]
    masks = [F.pad(item["feature_attention_mask"], (0, longest - item["feature_attention_mask"].shape[-1])) for item in items]
    mask = torch.cat(masks)  # [items, frames]
    encoded = model.get_audio_features(torch.cat(features), feature_attention_mask=mask)
    _, rows = model.audio_tower._get_feat_extract_output_lengths(mask.sum(-1))
    return list(torch.split(encoded.last_hidden_state, rows.tolist()))
