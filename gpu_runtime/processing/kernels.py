"""What transformers' processors of clips ask of torchvision, by torch alone: the same numbers, bit
by bit, on a CPU.

The names are those of `torchvision.transforms.v2.functional`, whose place this module takes (see
`stand_in`). Every function takes `[..., C, H, W]`; what is not here is not asked for by a processor
that this engine runs.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


class InterpolationMode(Enum):
    """By torchvision's names; the values are those of `torch.nn.functional.interpolate`."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


_BY_NUMBER = {0: "NEAREST", 1: "LANCZOS", 2: "BILINEAR", 3: "BICUBIC", 4: "BOX", 5: "HAMMING"}
"""Pillow's numbers."""
SMOOTH = (InterpolationMode.BILINEAR, InterpolationMode.BICUBIC, InterpolationMode.LANCZOS)
NEAREST = (InterpolationMode.NEAREST, InterpolationMode.NEAREST_EXACT)


def resize(
    image: Tensor,
    size: Sequence[int],
    interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool = True,
) -> Tensor:
    """To (height, width). Bytes stay bytes: torch's kernel for them rounds otherwise than one for
    floats."""
    if max_size is not None or len(size) != 2:
        raise ValueError("a size is a height and a width")
    height, width = int(size[0]), int(size[1])
    if (height, width) == tuple(image.shape[-2:]) or image.numel() == 0:
        return image.reshape(*image.shape[:-2], height, width)
    if isinstance(interpolation, int):
        interpolation = InterpolationMode[_BY_NUMBER[interpolation]]
    mode, smooth = interpolation.value, interpolation in SMOOTH
    if not smooth and interpolation not in NEAREST:
        raise ValueError(f"no kernel resizes by {mode}")
    flat = image.reshape(-1, *image.shape[-3:])
    native = flat.dtype in (torch.float32, torch.float64, torch.uint8)
    flat, aligned = flat if native else flat.float(), False if smooth else None
    made = functional.interpolate(
        flat, [height, width], mode=mode, align_corners=aligned, antialias=antialias and smooth
    )
    if not native:
        made = (made if image.dtype.is_floating_point else made.round()).to(image.dtype)
    return made.reshape(*image.shape[:-2], height, width)


def normalize(image: Tensor, mean: Any, std: Any, inplace: bool = False) -> Tensor:
    """(image - mean) / std, per channel. Raises TypeError for whole numbers."""
    if not image.is_floating_point():
        raise TypeError(f"only floats can be normalised, not {image.dtype}")
    pair = [torch.as_tensor(one, dtype=image.dtype, device=image.device) for one in (mean, std)]
    middle, spread = (one.view(-1, 1, 1) if one.ndim == 1 else one for one in pair)
    if not spread.all():
        raise ValueError("a standard deviation is 0")
    return (image.sub_(middle) if inplace else image.sub(middle)).div_(spread)


def pad(
    image: Tensor, padding: Sequence[int], fill: Any = 0, padding_mode: str = "constant"
) -> Tensor:
    """`padding` is one width for all sides, (x, y), or (left, top, right, bottom)."""
    if padding_mode != "constant":
        raise ValueError(f"no kernel pads by {padding_mode}")
    left, top, right, bottom = _sides(padding)
    values = [float(value) for value in (fill if isinstance(fill, list | tuple) else [fill or 0])]
    made = functional.pad(image, [left, right, top, bottom], value=values[0])
    if len(set(values)) > 1:
        height, width = image.shape[-2:]
        made = image.new_tensor(values).view(-1, 1, 1).expand(made.shape).clone()
        made[..., top : top + height, left : left + width] = image
    return made


def crop(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """What lies outside of the image is 0."""
    above, before = max(-top, 0), max(-left, 0)
    below, behind = max(top + height - image.shape[-2], 0), max(left + width - image.shape[-1], 0)
    inner = image[..., max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    if not any((above, before, below, behind)):
        return inner
    return functional.pad(inner, [before, behind, above, below])


def grayscale_to_rgb(image: Tensor) -> Tensor:
    """One channel becomes three that are equal; more stay as they are."""
    if image.shape[-3] >= 3:
        return image
    return image[..., :1, :, :].repeat(*[1] * (image.ndim - 3), 3, 1, 1)


def to_dtype(image: Tensor, dtype: torch.dtype = torch.float32, scale: bool = False) -> Tensor:
    """`scale`: between bytes 0..255 and floats 0..1."""
    if image.dtype == dtype or not scale or image.is_floating_point() == dtype.is_floating_point:
        return image.to(dtype)
    if torch.uint8 not in (image.dtype, dtype):
        raise ValueError(f"no kernel scales {image.dtype} to {dtype}")
    if dtype.is_floating_point:
        return image.to(dtype).mul_(1.0 / 255)
    return image.mul(256.0 - 1e-3).to(dtype)


def pil_to_tensor(picture: Any) -> Tensor:
    """[C, H, W] of a PIL image, as a copy."""
    pixels = np.array(picture, copy=True)
    return torch.from_numpy(pixels.reshape(picture.height, picture.width, -1)).permute(2, 0, 1)


def to_image(value: Any) -> Tensor:
    """[C, H, W] of a PIL image, or of an array [H, W] or [H, W, C]."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.atleast_3d(value)).permute(2, 0, 1).contiguous()
    return pil_to_tensor(value)


def _sides(padding: Sequence[int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom)."""
    widths = [padding] if isinstance(padding, int) else list(padding)
    match widths:
        case [one]:
            return one, one, one, one
        case [x, y]:
            return x, y, x, y
        case [left, top, right, bottom]:
            return left, top, right, bottom
        case _:
            raise ValueError(f"padding has one, two or four widths, not {len(widths)}")
