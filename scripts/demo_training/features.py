"""From pixels and waves to what the towers read, exactly as the engine's preprocessor does it."""

from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from transformers import WhisperFeatureExtractor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
    smart_resize,
)

from .sounds import RATE, Wave

PATCH: Final = 14
MERGE: Final = 2
TEMPORAL: Final = 2  # frames in one patch
CELL: Final = PATCH * MERGE  # pixels along one side of what one token sees
SIDE: Final = 84  # the picture size the model is trained on
# Squares of every size become 84x84, 4:3 becomes 112x84, 16:9 becomes 112x56. Not simply 84 * 84 on
# both sides: smart_resize takes floor and ceil of quotients that rounding may leave a hair off a
# whole number.
MIN_PIXELS: Final = 6_800
MAX_PIXELS: Final = 9_500
MAX_FRAMES: Final = 8
MEL_BINS: Final = 128
SECONDS: Final = 4  # the extractor pads to this length, and longer sounds are cut

Grid = tuple[int, int, int]  # frame pairs, patches down, patches across


def image_processor() -> Any:
    return Qwen2VLImageProcessorPil(
        size={"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
        patch_size=PATCH,
        merge_size=MERGE,
        temporal_patch_size=TEMPORAL,
    )


def video_processor_settings() -> dict[str, Any]:
    """transformers' video processor needs torchvision to be built, so its settings are written by
    hand."""
    return {
        "video_processor_type": "Qwen2VLVideoProcessor",
        "size": {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
        "do_resize": True,
        "resample": 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_convert_rgb": True,
        "patch_size": PATCH,
        "merge_size": MERGE,
        "temporal_patch_size": TEMPORAL,
        "do_sample_frames": False,
        "min_frames": 2,
        "max_frames": MAX_FRAMES,
    }


def feature_extractor() -> Any:
    build: Any = WhisperFeatureExtractor  # transformers leaves its constructors untyped
    return build(
        feature_size=MEL_BINS, sampling_rate=RATE, chunk_length=SECONDS, return_attention_mask=True
    )


def target_size(width: int, height: int) -> tuple[int, int]:
    """Width and height that a picture of this size is brought to."""
    down, across = smart_resize(height, width, CELL, MIN_PIXELS, MAX_PIXELS)
    return across, down


def fit_picture(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    size = target_size(pixels.shape[1], pixels.shape[0])
    if size == (pixels.shape[1], pixels.shape[0]):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def fit_clip(clip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resizes as the engine's video path does, and repeats the last frame up to a whole frame
    pair."""
    width, height = target_size(clip.shape[2], clip.shape[1])
    if (width, height) != (clip.shape[2], clip.shape[1]):
        frames = torch.tensor(clip).permute(0, 3, 1, 2).float()
        frames = F.interpolate(frames, size=(height, width), mode="bicubic", antialias=True)
        clip = frames.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    if len(clip) % TEMPORAL:
        clip = np.concatenate([clip, clip[-1:]])
    return clip


def patches(frames: NDArray[np.uint8]) -> tuple[torch.Tensor, Grid]:
    """[items, frames, height, width, 3] uint8 to [items, frame pairs, patches, values], in the
    order of Qwen's layout."""
    items, count, height, width, _ = frames.shape
    pairs, down, across = count // TEMPORAL, height // PATCH, width // PATCH
    values = torch.tensor(frames).float().div_(127.5).sub_(1.0)
    values = values.view(
        items, pairs, TEMPORAL, down // MERGE, MERGE, PATCH, across // MERGE, MERGE, PATCH, 3
    )
    values = values.permute(0, 1, 3, 6, 4, 7, 9, 2, 5, 8)
    return values.reshape(items, pairs, down * across, 3 * TEMPORAL * PATCH * PATCH), (
        pairs,
        down,
        across,
    )


def clip_patches(clips: list[NDArray[np.uint8]]) -> tuple[torch.Tensor, Grid]:
    return patches(np.stack([fit_clip(clip) for clip in clips]))


def sound_features(extractor: Any, sounds: list[Wave]) -> torch.Tensor:
    """Sounds of one length to [sounds, mel bins, frames], without the padding."""
    made = extractor(
        sounds,
        sampling_rate=RATE,
        padding="max_length",
        return_tensors="pt",
        return_attention_mask=True,
    )
    frames = int(made["attention_mask"][0].sum())
    features: torch.Tensor = made["input_features"][:, :, :frames]
    return features


def audio_tokens(frames: int) -> int:
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1
