"""The way of all Qwen vision towers: patches of several pictures in one row, told apart by their grids."""

from typing import Any

import torch

from .family import Tensors


def encode_patches(model: Any, modality: str, items: list[Tensors]) -> list[torch.Tensor]:
    """Patches of all items in one row; attention stays inside each frame, so an item does not see its batch."""
    if modality == "video":
        patches = torch.cat([item["pixel_values_videos"] for item in items])
        grids = torch.cat([item["video_grid_thw"] for item in items])
        return list(model.get_video_features(patches, grids).pooler_output)
    if modality == "image":
        patches = torch.cat([item["pixel_values"] for item in items])
        grids = torch.cat([item["image_grid_thw"] for item in items])
        return list(model.get_image_features(patches, grids).pooler_output)
    raise ValueError(f"this family has no {modality} tower")
