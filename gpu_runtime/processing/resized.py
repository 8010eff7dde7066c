"""The size at which an encoder takes a picture or a clip's frames, as its features tell it."""

from math import prod
from typing import Any

from .types import Options, Part

_CUT = (
    "do_center_crop", "do_pad", "do_image_splitting", "do_pan_and_scan", "crop_to_patches",
    "image_grid_pinpoints", "slice_mode",
)  # fmt: skip
"""Options of classes that cut a picture up, crop it or fill it up: its pixels have no one scale."""


def resized_of(processor: Any, part: Part, options: Options) -> tuple[int, int] | None:
    """(height, width). `processor`: of pictures or of clips."""
    patch = getattr(processor, "patch_size", None)
    grids = [value for name, value in part.tensors.items() if name.endswith("_grid_thw")]
    if grids:
        if not isinstance(patch, int):
            return None
        _, high, wide = map(int, grids[0][0])
        return high * patch, wide * patch
    if any(options.get(name, getattr(processor, name, None)) for name in _CUT):
        return None
    pixels = part.tensors.get("pixel_values")
    # [1, 3, H, W], with as many ones before as the class likes.
    if pixels is None or pixels.ndim < 4 or pixels.shape[-3] != 3 or prod(pixels.shape[:-3]) != 1:
        return None
    return int(pixels.shape[-2]), int(pixels.shape[-1])
