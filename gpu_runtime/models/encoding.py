"""What encodes: bytes to tensors, tensors to embeddings. A bad item costs itself alone."""

import logging
from typing import Protocol

import torch

from ...protocol.errors import Failure
from ...protocol.memory.blobs import BlobRef
from ...protocol.memory.shortage import shortage

log = logging.getLogger(__name__)
Tensors = dict[str, torch.Tensor]
"""One item's features, by the names that the model's `get_..._features` takes."""
Views = dict[str, tuple[BlobRef, memoryview]]
EMBEDS = "embeds"
"""The tensor of a ready-made embedding, [rows, embed_width]."""


class Encodes(Protocol):
    def encode(self, kind: str, items: list[Tensors], rows: list[int]) -> list[torch.Tensor]:
        """One [rows, embed_width] per item."""
        ...


def copy(views: Views) -> Tensors:
    """Tensors of one item out of shared memory, which its writer may use again afterwards."""
    tensors: Tensors = {}
    for name, (ref, view) in views.items():
        tensor = torch.empty(ref.shape, dtype=getattr(torch, ref.dtype))
        if ref.nbytes:
            bytes_of(tensor)[:] = view
        tensors[name] = tensor
    return tensors


def copy_all(items: list[Views]) -> list[Tensors]:
    """Of many, whose views end."""
    copies = [copy(views) for views in items]
    for views in items:
        for _, view in views.values():
            view.release()
    return copies


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """The bytes of a contiguous CPU tensor, writable."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def encode(
    encoder: Encodes,
    modality: str,
    items: list[Tensors],
    shapes: list[tuple[int, int]],
    dtype: torch.dtype,
    ready: bool,
) -> list[torch.Tensor | Failure]:
    """Of each item the embedding, [rows, embed_width] of `dtype` on the CPU, as `shapes` expects
    it; or why there is none."""
    if ready:
        return [
            _check(item.get(EMBEDS), shape, dtype, modality)
            for item, shape in zip(items, shapes, strict=True)
        ]
    short: Failure | None = None
    try:
        results = encoder.encode(modality, items, [rows for rows, _ in shapes])
        checked = [
            _check(result, shape, dtype, modality)
            for result, shape in zip(results, shapes, strict=True)
        ]
    except torch.AcceleratorError:
        raise  # the device's context is broken for good: only a new process helps
    except Exception as error:
        # The features come from a user's media and pass through foreign code: whatever it raises
        # belongs to some item here.
        log.exception("a batch of %d %s items failed", len(items), modality)
        checked, short = [], shortage(error)
    if checked and not any(isinstance(result, Failure) for result in checked):
        return checked
    if len(items) == 1:
        return checked or [short or Failure("internal", f"The {modality} could not be encoded.")]
    return [
        result
        for item, shape in zip(items, shapes, strict=True)
        for result in encode(encoder, modality, [item], [shape], dtype, ready)
    ]


def _check(
    result: torch.Tensor | None, shape: tuple[int, int], dtype: torch.dtype, modality: str
) -> torch.Tensor | Failure:
    if result is None or tuple(result.shape) != shape:
        got = "nothing" if result is None else str(tuple(result.shape))
        log.error("the embedding of a %s is %s instead of %s", modality, got, shape)
        return Failure(
            "internal", f"The embedding of the {modality} does not have the expected shape."
        )
    if not bool(torch.isfinite(result).all()):
        return Failure(
            "unprocessable_media",
            f"The {modality} gives an embedding with numbers that are not finite.",
        )
    return result.to(device="cpu", dtype=dtype).contiguous()
