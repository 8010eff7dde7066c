"""Qwen2-VL: pictures and clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....protocol.request import Modality
from ..checkpoint import Checkpoint
from ..tokens import TextTokenizer
from . import mrope, pixels
from .base import Family, Grid, MediaFeatures, PlacedItem, placeholder

MODEL_TYPES = ("qwen2_vl",)


@dataclass(frozen=True)
class QwenVl(Family):
    merge: int = 2

    def positions(self, length: int, token_ids: Sequence[int], placed: Sequence[PlacedItem]) -> tuple[bytes | None, int]:
        """Time counts temporal patches; after a block the text goes on behind its larger side, however long it lasts."""
        blocks = []
        for item in placed:
            assert item.grid is not None
            frames, height, width = item.grid[0], item.grid[1] // self.merge, item.grid[2] // self.merge
            blocks.append(mrope.Block(item.start, mrope.planes(np.arange(frames), height, width), max(height, width)))
        return mrope.positions(length, blocks) if blocks else (None, 0)

    def rows_of(self, modality: Modality, grid: Grid | None) -> int | None:
        return pixels.embedding_rows(modality, grid, self.merge)

    def pixel_range(self, modality: Modality) -> tuple[int, int] | None:
        return pixels.pixel_range(modality, self.checkpoint.image, self.checkpoint.video or _still(self.checkpoint))

    def features(self, modality: Modality, media: Any, options: dict[str, Any], max_rows: int) -> MediaFeatures:
        if modality == "image":
            return pixels.image_features(self.checkpoint.image, media, options, max_rows)
        return pixels.video_features(self.checkpoint.video or _still(self.checkpoint), media, options, max_rows)


def _still(checkpoint: Checkpoint) -> dict[str, Any]:
    """Old checkpoints have one configuration for both; only the bounds of a clip's frames are its own."""
    return {name: value for name, value in checkpoint.image.items() if name not in ("size", "min_pixels", "max_pixels")}


def load(checkpoint: Checkpoint, tokenizer: TextTokenizer) -> QwenVl:
    vision = (checkpoint.token_id("vision_start_token_id"), checkpoint.token_id("vision_end_token_id"))
    return QwenVl(
        checkpoint=checkpoint,
        placeholders={
            "image": placeholder(tokenizer, checkpoint.token_id("image_token_id"), *vision),
            "video": placeholder(tokenizer, checkpoint.token_id("video_token_id"), *vision),
        },
        options={"image": pixels.IMAGE_OPTIONS, "video": pixels.VIDEO_OPTIONS},
        merge=int(checkpoint.config.get("vision_config", {}).get("spatial_merge_size", 2)),
    )
