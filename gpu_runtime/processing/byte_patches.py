"""Patches of pictures cut out of bytes: transformers' processors make floats of them first, and
each once for every frame."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Patches = tuple[NDArray[Any], int, int]
"""[patches, channels * size * size], and how many there are down and across."""
_ARGUMENTS = ("image", "patch_size", "merge_size", "temporal_patch_size")
_SIDES = ((8, 6), (2, 4))
"""Of the noise that both ways are compared on, in patches."""


def cut_bytes(part: Any) -> bool:
    """Have the picture processor `part` cut pictures of bytes into patches of bytes, each pixel
    once. False: its class cuts in another way, and goes on doing so."""
    own = getattr(part, "patchify", None)
    if own is None or tuple(signature(own).parameters) != _ARGUMENTS or not _is_same(own, part):
        return False

    def patchify(
        image: NDArray[Any], patch_size: int, merge_size: int, temporal_patch_size: int
    ) -> Patches:
        if image.dtype != np.uint8:
            found: Patches = own(image, patch_size, merge_size, temporal_patch_size)
            return found
        return cut(image, patch_size, merge_size)

    part.patchify = patchify
    return True


def cut(image: NDArray[np.uint8], size: int, merge: int) -> Patches:
    """`image` [channels, height, width]. Patches that the model merges follow each other."""
    channels, height, width = image.shape
    down, across = height // size, width // size
    lines = np.ascontiguousarray(image).view(f"V{size}")  # a line of a patch is moved as one thing
    split = lines.reshape(channels, down // merge, merge, size, across // merge, merge)
    patches = np.ascontiguousarray(split.transpose(1, 4, 2, 5, 0, 3)).view(np.uint8)
    return patches.reshape(down * across, channels * size * size), down, across


def cut_picture(
    picture: Image.Image, part: Any, options: Mapping[str, Any], grid: NDArray[Any]
) -> NDArray[np.uint8]:
    """Patches of an RGB `picture` that is asked for as bytes, [down * across, channels * size *
    size]; `grid` [1, 3] says how many, as the picture processor `part` has it for pictures of this
    size with these `options`."""
    names = ("patch_size", "merge_size", "resample")
    own = [options.get(name) for name in names]
    size, merge, resample = (
        getattr(part, name) if one is None else one for name, one in zip(names, own, strict=True)
    )
    _, down, across = (int(number) for number in grid[0])
    if picture.size != (wanted := (across * size, down * size)):
        picture = picture.resize(wanted, resample)
    return cut(np.stack([np.asarray(band) for band in picture.split()]), size, merge)[0]


def _is_same(own: Callable[..., Patches], part: Any) -> bool:
    sizes = [getattr(part, name, None) for name in _ARGUMENTS[1:]]
    if not all(isinstance(one, int) for one in sizes):
        return False
    size, merge, frames = (int(one or 0) for one in sizes)
    noise, side = np.random.default_rng(0), merge * size
    for down, across in _SIDES:
        image = noise.integers(0, 256, (3, down * side, across * side), dtype=np.uint8)
        theirs, *grid = own(image, size, merge, frames)
        ours, *cut_into = cut(image, size, merge)
        often = np.repeat(ours.reshape(len(ours), 3, 1, -1), frames, axis=2).reshape(len(ours), -1)
        if cut_into != grid or not np.array_equal(theirs, often):
            return False
    return True
