"""Qwen2.5-Omni's thinker: pictures, clips and sounds in one prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....protocol.errors import refuse
from ....protocol.request import Modality
from ..checkpoint import Checkpoint
from ..tokens import TextTokenizer
from . import mrope
from .base import Family, Grid, MediaFeatures, Placed, placeholder

MODEL_TYPES = ("qwen2_5_omni_thinker", "qwen2_5_omni")

_PIXELS = frozenset({"min_pixels", "max_pixels"})


@dataclass(frozen=True)
class QwenOmni(Family):
    merge: int = 2
    positions_per_second: float = 25
    vision_start: int = -1

    def positions(self, length: int, token_ids: Sequence[int], placed: Sequence[Placed]) -> tuple[bytes | None, int]:
        """Time runs in real seconds; after a block the text goes on behind the largest position in it."""
        blocks = []
        for item in placed:
            # Sound counts on like text, and so does a picture that no vision start announces.
            if item.grid is None or item.start == 0 or token_ids[item.start - 1] != self.vision_start:
                continue
            seconds = item.seconds_per_grid if item.modality == "video" else 1.0
            frames, height, width = item.grid[0], item.grid[1] // self.merge, item.grid[2] // self.merge
            steps = np.arange(frames, dtype=np.float32) * np.float32(seconds) * np.float32(self.positions_per_second)
            times = steps.astype(np.int64)
            blocks.append(mrope.Block(item.start, times, height, width, max(int(times.max()), height - 1, width - 1) + 1))
        return mrope.positions(length, blocks) if blocks else (None, 0)

    def rows_of(self, modality: Modality, grid: Grid | None) -> int | None:
        if modality == "audio":
            return None
        if grid is None:
            raise refuse("invalid_request", f"Embeddings of {modality} items need their grid (t, h, w).")
        return grid[0] * grid[1] * grid[2] // self.merge**2

    def features(self, modality: Modality, media: Any, options: dict[str, Any], max_rows: int) -> MediaFeatures:
        from . import pixels, sound

        match modality:
            case "image":
                return pixels.image_features(self.checkpoint.image, media, options, max_rows)
            case "video":
                return pixels.video_features(self.checkpoint.video, media, options, max_rows)
            case "audio":
                return sound.audio_features(self.checkpoint.audio, media)


def load(checkpoint: Checkpoint, tokenizer: TextTokenizer) -> QwenOmni:
    vision = (checkpoint.token_id("vision_start_token_id"), checkpoint.token_id("vision_end_token_id"))
    audio = (checkpoint.token_id("audio_start_token_id"), checkpoint.token_id("audio_end_token_id"))
    return QwenOmni(
        checkpoint=checkpoint,
        placeholders={
            "image": placeholder(tokenizer, checkpoint.token_id("image_token_id", "image_token_index"), *vision),
            "video": placeholder(tokenizer, checkpoint.token_id("video_token_id", "video_token_index"), *vision),
            "audio": placeholder(tokenizer, checkpoint.token_id("audio_token_id", "audio_token_index"), *audio),
        },
        options={"image": _PIXELS, "video": _PIXELS | {"fps", "num_frames"}, "audio": frozenset()},
        merge=int(checkpoint.config.get("vision_config", {}).get("spatial_merge_size", 2)),
        positions_per_second=checkpoint.config.get("position_id_per_seconds", 25),
        vision_start=vision[0] if vision[0] is not None else -1,
    )
