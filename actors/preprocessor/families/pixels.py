"""Patches of pictures and clips for the Qwen vision towers. The features are made in decode workers only: torch and
transformers are imported there."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....protocol.errors import refuse
from ....protocol.request import Modality
from .base import Clip, Grid, MediaFeatures

VIDEO_SIZE = {"shortest_edge": 128 * 28 * 28, "longest_edge": 768 * 28 * 28}
"""Pixels per frame where the checkpoint says nothing."""
IMAGE_SIZE = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280}
"""Pixels per picture where the checkpoint says nothing, as in transformers."""
IMAGE_OPTIONS = frozenset({"min_pixels", "max_pixels"})
VIDEO_OPTIONS = IMAGE_OPTIONS | {"fps", "num_frames", "do_sample_frames"}
"""`Family.options` of the two."""


def image_features(config: dict[str, Any], image: Any, options: dict[str, Any], max_rows: int) -> MediaFeatures:
    """`image` is a PIL image. Equal to transformers' processor of the same configuration."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil.from_dict(config)
    size = pixel_bounds({"shortest_edge": processor.size.shortest_edge, "longest_edge": processor.size.longest_edge}, options)
    merge = int(processor.merge_size)
    if processor.do_resize:
        height, width = resized(image.height, image.width, int(processor.patch_size) * merge, size)
    else:
        height, width = image.height, image.width
    check_rows((1, height // int(processor.patch_size), width // int(processor.patch_size)), merge, max_rows)
    made = processor.preprocess([image], size=size, return_tensors="np")
    grid = _grid(made["image_grid_thw"][0])
    tensors: dict[str, NDArray[Any]] = {
        "pixel_values": np.ascontiguousarray(made["pixel_values"], np.float32),
        "image_grid_thw": np.asarray(made["image_grid_thw"], np.int64),
    }
    return MediaFeatures(tensors, merged_rows(grid, merge), grid)


def video_features(config: dict[str, Any], clip: Clip, options: dict[str, Any], max_rows: int) -> MediaFeatures:
    """Frames are resized and cut two by two, so that only one pair is ever held in floating point."""
    import torch
    from torch.nn.functional import interpolate

    patch, pair, merge = (
        int(config.get(n) or d) for n, d in (("patch_size", 14), ("temporal_patch_size", 2), ("merge_size", 2))
    )
    size = pixel_bounds(video_size(config), options)
    frames = clip.frames
    count, height, width, channels = frames.shape
    high, wide = resized(height, width, patch * merge, size)
    grid = (-(-count // pair), high // patch, wide // patch)
    check_rows(grid, merge, max_rows)
    scale = float(config.get("rescale_factor") or 1 / 255)
    mean = torch.tensor(config.get("image_mean") or _CLIP_MEAN, dtype=torch.float32).view(1, -1, 1, 1) / scale
    std = torch.tensor(config.get("image_std") or _CLIP_STD, dtype=torch.float32).view(1, -1, 1, 1) / scale
    out = np.empty((grid[0], grid[1] * grid[2], channels * pair * patch * patch), np.float32)
    for step in range(grid[0]):
        taken = frames[[min(step * pair + k, count - 1) for k in range(pair)]]  # the last frame fills the last pair
        pixels = torch.from_numpy(taken).permute(0, 3, 1, 2).to(torch.float32)
        if (high, wide) != (height, width):
            pixels = interpolate(pixels, size=(high, wide), mode="bicubic", antialias=True).round().clamp(0, 255)
        pixels = (pixels - mean) / std
        cells = pixels.view(pair, channels, grid[1] // merge, merge, patch, grid[2] // merge, merge, patch)
        out[step] = cells.permute(2, 5, 3, 6, 1, 0, 4, 7).reshape(grid[1] * grid[2], -1).numpy()
    tensors: dict[str, NDArray[Any]] = {
        "pixel_values_videos": out.reshape(grid[0] * grid[1] * grid[2], -1),
        "video_grid_thw": np.array([grid], np.int64),
    }
    # transformers' processors and the models' training take 2 frames per second where nobody names a rate
    return MediaFeatures(tensors, merged_rows(grid, merge), grid, pair / (clip.fps or 2.0))


_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def resized(height: int, width: int, factor: int, size: dict[str, int]) -> tuple[int, int]:
    """The size that the tower sees: multiples of `factor`, between the bounds in pixels. RequestError for a strip."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    if max(height, width) > 200 * min(height, width):
        raise refuse("unprocessable_media", f"The sides of {width}x{height} pixels differ by more than 200 to 1.")
    high, wide = smart_resize(height, width, factor, size["shortest_edge"], size["longest_edge"])
    return int(high), int(wide)


def video_size(config: dict[str, Any]) -> dict[str, int]:
    size = dict(config.get("size") or {})
    low = config.get("min_pixels") or size.get("shortest_edge") or VIDEO_SIZE["shortest_edge"]
    high = config.get("max_pixels") or size.get("longest_edge") or VIDEO_SIZE["longest_edge"]
    return {"shortest_edge": int(low), "longest_edge": int(high)}


def pixel_range(modality: Modality, image: dict[str, Any], video: dict[str, Any]) -> tuple[int, int] | None:
    """`Family.pixel_range` of what the checkpoint says of pictures and of clips."""
    match modality:
        case "image":
            size = {**IMAGE_SIZE, **(image.get("size") or {})}
            low, high = image.get("min_pixels") or size["shortest_edge"], image.get("max_pixels") or size["longest_edge"]
            return int(low), int(high)
        case "video":
            size = video_size(video)
            return size["shortest_edge"], size["longest_edge"]
        case _:
            return None


def pixel_bounds(size: dict[str, int], options: dict[str, Any]) -> dict[str, int]:
    low = int(options.get("min_pixels", size["shortest_edge"]))
    high = int(options.get("max_pixels", size["longest_edge"]))
    if low > high:
        raise refuse("invalid_request", f"min_pixels={low} is more than max_pixels={high}.", "mm_processor_kwargs")
    return {"shortest_edge": low, "longest_edge": high}


def check_rows(grid: Grid, merge: int, max_rows: int) -> None:
    """Before the pixels are made: an item that no context can hold needs none."""
    rows = merged_rows(grid, merge)
    if rows > max_rows:
        raise refuse(
            "invalid_request",
            f"The item takes {rows} tokens, the model's context is {max_rows}.",
            code="context_length_exceeded",
        )


def embedding_rows(modality: Modality, grid: Grid | None, merge: int) -> int:
    """`Family.rows_of` of a ready-made embedding. RequestError where its grid is missing, or none that the tower makes."""
    if grid is None:
        raise refuse("invalid_request", f"Embeddings of {modality} items need their grid (t, h, w).")
    if min(grid) < 1:
        raise refuse("invalid_request", f"A grid must be three positive numbers (t, h, w), got {list(grid)}.")
    if grid[1] % merge or grid[2] % merge:
        text = f"The height and width of a grid (t, h, w) must be multiples of {merge}, got {list(grid)}."
        raise refuse("invalid_request", text)
    return merged_rows(grid, merge)


def merged_rows(grid: Grid, merge: int) -> int:
    return grid[0] * grid[1] * grid[2] // (merge * merge)


def _grid(row: NDArray[np.int64]) -> Grid:
    return int(row[0]), int(row[1]), int(row[2])
