"""From bytes to the numbers that a tower takes."""

import torch

from ...protocol.pixels import PixelForm


def expand(pixels: torch.Tensor, form: PixelForm) -> torch.Tensor:
    """uint8 [..., n, ...], `n` at `form.axis`, to float32 [..., n * repeats, ...], as transformers'
    processors normalise."""
    channels, axis = len(form.mean), pixels.ndim + form.axis
    planes = form.order == "planes"
    shape = (channels, 1, -1) if planes else (-1, 1, channels)
    values = pixels.reshape(*pixels.shape[:axis], *shape, *pixels.shape[axis + 1 :]).float()
    along = [1] * values.ndim
    along[axis if planes else axis + 2] = channels
    mean, std = torch.tensor((form.mean, form.std), device=pixels.device).view(2, *along)
    values = values.sub_(mean).div_(std)
    if form.repeats > 1:
        values = values.expand(*values.shape[: axis + 1], form.repeats, *values.shape[axis + 2 :])
    return values.flatten(axis, axis + 2)
