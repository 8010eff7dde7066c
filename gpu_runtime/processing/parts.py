"""What the encoders of a model take of a processor's answer."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .types import Kind

_TEXT = {
    "input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids",
    "text_replacement_offsets", "offset_mapping",
}  # fmt: skip
_BOOLEAN = frozenset({"pixel_attention_mask"})
"""One number a pixel that only says yes or no: an eighth of the bytes, to the same effect."""
_CANDIDATES: dict[str, tuple[Kind, ...]] = {
    "image": ("image",), "video": ("video", "image"), "audio": ("audio",)
}  # fmt: skip
"""Encoders that may take a modality: some models see a clip as a row of pictures."""


def features_of(answer: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Everything in it but what was made of the text."""
    found = {name: _array(name, answer[name]) for name in answer if name not in _TEXT}
    return {name: array for name, array in found.items() if array is not None}


def choose_tower(
    model: type[Any], modality: str, features: dict[str, NDArray[Any]], company: bool = False
) -> tuple[Kind, dict[str, NDArray[Any]]]:
    """(kind, its tensors) by the signature of `get_<kind>_features`; of a model without such a
    method, all of them. `company`: some of `features` are another encoder's, the largest perhaps
    among them."""
    kinds = _CANDIDATES[modality]
    largest = max(features, key=lambda name: features[name].nbytes, default="")
    for kind in kinds:
        method = getattr(model, f"get_{kind}_features", None)
        if method is None:
            continue
        taken = {name: features[name] for name in signature(method).parameters if name in features}
        sees = any(array.dtype.kind == "f" or array.dtype == np.uint8 for array in taken.values())
        if largest in taken or (company and sees):
            return kind, taken
    return kinds[0], features


def _array(name: str, value: Any) -> NDArray[Any] | None:
    """None: no numbers. Of a type that numpy does not have, the same numbers in float32."""
    if isinstance(value, torch.Tensor):
        array: NDArray[Any] = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    else:
        try:
            array = np.asarray(value)
        except ValueError:  # of different lengths
            return None
    if array.dtype.kind not in "biuf":
        return None
    if name in _BOOLEAN:
        return np.ascontiguousarray(array != 0)
    return np.ascontiguousarray(array, np.float32 if array.dtype.kind == "f" else None)
