"""LLaVA-1.5: pictures of one fixed size, plain positions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....protocol.request import Modality
from ..checkpoint import Checkpoint
from ..tokens import TextTokenizer
from .base import Family, Grid, MediaFeatures, PlacedItem, placeholder, without_grid

MODEL_TYPES = ("llava",)


@dataclass(frozen=True)
class Llava(Family):
    patch: int = 14
    with_class_token: bool = False
    """Whether the tower's class token is kept (`vision_feature_select_strategy` "full")."""
    side: int = 336

    def positions(self, length: int, token_ids: Sequence[int], placed: Sequence[PlacedItem]) -> tuple[bytes | None, int]:
        return None, 0

    def rows_of(self, modality: Modality, grid: Grid | None) -> int | None:
        without_grid(modality, grid)
        return self._rows(self.side, self.side)

    def features(self, modality: Modality, media: Any, options: dict[str, Any], max_rows: int) -> MediaFeatures:
        from transformers import CLIPImageProcessorPil
        from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

        config = self.checkpoint.image
        kind = LlavaImageProcessorPil if "Llava" in str(config.get("image_processor_type")) else CLIPImageProcessorPil
        made = kind.from_dict(config).preprocess([media], return_tensors="np")
        pixels = np.ascontiguousarray(made["pixel_values"], np.float32)
        return MediaFeatures({"pixel_values": pixels}, self._rows(pixels.shape[2], pixels.shape[3]))

    def _rows(self, height: int, width: int) -> int:
        return (height // self.patch) * (width // self.patch) + self.with_class_token


def load(checkpoint: Checkpoint, tokenizer: TextTokenizer) -> Llava:
    vision = checkpoint.config.get("vision_config", {})
    return Llava(
        checkpoint=checkpoint,
        placeholders={"image": placeholder(tokenizer, checkpoint.token_id("image_token_id", "image_token_index"))},
        options={"image": frozenset()},
        patch=int(vision.get("patch_size", 14)),
        with_class_token=checkpoint.config.get("vision_feature_select_strategy", "default") == "full",
        side=int(vision.get("image_size", 336)),
    )
