"""Media as Python objects (PIL pictures, arrays, tensors) into bytes that can be shared. Pure.

Nothing is decoded or resized here: decode workers do that, within their limits. Errors are RequestErrors that name the item.
"""

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..protocol.errors import refuse
from ..protocol.request import Frames, Modality, Pixels, Samples
from .clip_facts import read_facts
from .embeds import is_array, looks_like_embeds, read_embeds, split_embeds, to_numpy
from .media import Raw

log = logging.getLogger(__name__)
Array = NDArray[Any]


def read_raw(modality: Modality, entry: Any, where: str) -> bytes | Raw:
    """One item: a file's bytes, a PIL picture, an array, a tensor, a clip, a sound, a dict of embeddings."""
    if isinstance(entry, bytes | bytearray | memoryview):
        return bytes(entry)
    if isinstance(entry, Mapping):
        return read_embeds(modality, entry, where)
    if looks_like_embeds(modality, entry):
        return read_embeds(modality, {f"{modality}_embeds": entry}, where)
    match modality:
        case "image":
            return _picture(entry, where)
        case "video":
            return _clip(entry, where)
        case "audio":
            return _sound(entry, where)


def split(modality: Modality, value: Any) -> list[Any]:
    """One item or several: a list is several, except that a list of pictures is one clip and a list of numbers one sound."""
    if isinstance(value, Mapping):
        return list(split_embeds(modality, value))
    bare = value if isinstance(value, list) else [value]
    if bare and all(looks_like_embeds(modality, entry) for entry in bare):
        return list(split_embeds(modality, {f"{modality}_embeds": value}))
    if is_array(value):
        several = {"image": 4, "video": 5, "audio": 3}[modality]
        return list(value) if value.ndim == several else [value]
    if modality == "video" and isinstance(value, list) and value and all(_is_picture(frame) for frame in value):
        return [value]
    if modality == "audio" and isinstance(value, list) and _all_numbers(value):
        return [value]
    if modality == "image" and isinstance(value, tuple):
        return list(value)
    return list(value) if isinstance(value, list) else [value]


def share(array: Array) -> tuple[Any, str, tuple[int, ...]]:
    """The array's bytes, type and shape: the first three fields of a `Raw`."""
    whole = np.ascontiguousarray(array)
    return whole.data.cast("B") if whole.size else b"", str(whole.dtype), whole.shape


# pictures


def _picture(entry: Any, where: str) -> Raw:
    array, mode = _pixels(entry, where)
    return Raw(*share(array), lambda blob: Pixels(blob, mode))


def _pixels(entry: Any, where: str) -> tuple[Array, str]:
    """[H, W, C] uint8 and its mode."""
    if hasattr(entry, "getexif"):
        return _of_pil(entry)
    if is_array(entry) and entry.ndim in (2, 3):
        array = _to_uint8(_channels_last(to_numpy(entry), where), where)
        return array, {1: "L", 3: "RGB", 4: "RGBA"}[array.shape[-1]]
    raise refuse("invalid_request", "A picture is a PIL image, an array or tensor, or the bytes of a file.", part=where)


def _of_pil(image: Any) -> tuple[Array, str]:
    """Upright. A picture that may be transparent keeps its alpha for the decode worker, which knows the background."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    transparent = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    wanted = ("RGBA", "LA") if transparent else ("RGB", "L")
    if image.mode.startswith("I;16"):  # PIL would clip at 255
        return (np.asarray(image) >> 8).astype(np.uint8)[..., None], "L"
    if image.mode not in wanted:
        image = image.convert(wanted[0])
    array = np.asarray(image)
    return (array[..., None] if array.ndim == 2 else array), image.mode


def _channels_last(array: Array, where: str) -> Array:
    """[H, W, C] from [H, W] (grey), [H, W, C] or [C, H, W]; the same with a leading time axis."""
    if array.ndim == 2:
        return array[..., None]
    if array.shape[-1] in (1, 3, 4):
        return array
    if array.shape[-3] in (1, 3, 4):
        return np.moveaxis(array, -3, -1)
    raise refuse("invalid_request", f"Pixels have 1, 3 or 4 channels, got an array of shape {list(array.shape)}.", part=where)


def _to_uint8(array: Array, where: str) -> Array:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "fiub":
        raise refuse("invalid_request", "Pixels must be numbers.", part=where)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise refuse("invalid_request", "Pixels must be finite numbers.", part=where)
        scale = 255.0 if array.size == 0 or array.max() <= 1.0 else 1.0
        array = np.rint(array * scale)
    pixels: Array = np.clip(array, 0, 255).astype(np.uint8)
    return pixels


# clips


def _clip(entry: Any, where: str) -> Raw:
    metadata: Mapping[str, Any] = {}
    if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], Mapping):
        entry, metadata = entry
    if isinstance(entry, list | tuple):
        if not entry:
            raise refuse("invalid_request", "A clip has at least one frame.", part=where)
        frames = [_opaque(_pixels(frame, where)[0]) for frame in entry]
        if len({frame.shape for frame in frames}) != 1:
            raise refuse("invalid_request", "All frames of a clip must have one size.", part=where)
        array = np.stack(frames)
    elif is_array(entry) and entry.ndim == 4:
        array = _opaque(_to_uint8(_channels_last(to_numpy(entry), where), where))
    else:
        raise refuse(
            "invalid_request", "A clip is a list of frames, a 4-D array or tensor, or the bytes of a file.", part=where
        )
    facts = read_facts(metadata, where)
    return Raw(*share(array), lambda blob: Frames(blob, **facts))


def _opaque(pixels: Array) -> Array:
    """[..., 3] from [..., 1], [..., 2], [..., 3] or [..., 4]: white shows through what is transparent."""
    channels = pixels.shape[-1]
    colours = pixels[..., : 1 if channels < 3 else 3]
    if channels in (2, 4):
        alpha = pixels[..., -1:].astype(np.uint16)
        colours = ((colours * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.repeat(colours, 3, axis=-1) if channels < 3 else colours


# sounds


def _sound(entry: Any, where: str) -> Raw:
    rate: int | None = None
    if isinstance(entry, tuple) and len(entry) == 2:
        try:
            entry, rate = entry[0], int(entry[1])
        except (TypeError, ValueError, OverflowError):
            raise refuse("invalid_request", "The sampling rate of a sound is a whole number.", part=where) from None
    else:
        _tell_of_rate()
    if not is_array(entry) and not (isinstance(entry, list) and _all_numbers(entry)):
        raise refuse("invalid_request", "A sound is (array, sampling rate), a 1-D array, or the bytes of a file.", part=where)
    array = np.asarray(to_numpy(entry) if is_array(entry) else entry)
    if array.dtype.kind not in "fiu":
        raise refuse("invalid_request", "Samples must be numbers.", part=where)
    if array.dtype.kind in "iu":
        middle = 2.0 ** (8 * array.dtype.itemsize - 1)  # full scale; unsigned samples swing around it
        array = (array.astype(np.float64) - (middle if array.dtype.kind == "u" else 0.0)) / middle
    if array.ndim not in (1, 2):
        raise refuse("invalid_request", f"A sound has one or two axes, got shape {list(array.shape)}.", part=where)
    if array.ndim == 2 and array.shape[0] > array.shape[1]:
        array = array.T  # [samples, channels]
    return Raw(*share(array.astype(np.float32)), lambda blob: Samples(blob, rate))


@cache
def _tell_of_rate() -> None:
    """Only once: a caller that gives one such array gives many."""
    log.warning("a sound without its sampling rate is taken as being at the model's; give (array, sampling_rate)")


def _is_picture(value: Any) -> bool:
    return hasattr(value, "getexif") or (is_array(value) and value.ndim in (2, 3))


def _all_numbers(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(v, int | float) for v in value)
