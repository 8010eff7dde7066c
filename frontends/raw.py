"""What a Python caller holds instead of a file: PIL pictures, arrays, tensors. Into bytes that can be shared. Pure.

Nothing is decoded or resized here; that is the decode worker's work, under its limits. Raises RequestError naming the item.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..protocol.errors import refuse
from ..protocol.request import Embeds, Frames, Modality, Pixels, Samples
from .openai.media import Raw

Array = NDArray[Any]


def read_raw(modality: Modality, entry: Any, where: str) -> bytes | Raw:
    """One item: a file's bytes, a PIL picture, an array, a tensor, a clip, a sound, a dict of embeddings."""
    if isinstance(entry, bytes | bytearray | memoryview):
        return bytes(entry)
    if isinstance(entry, Mapping):
        return _embeds(modality, entry, where)
    match modality:
        case "image":
            return _picture(entry, where)
        case "video":
            return _clip(entry, where)
        case "audio":
            return _sound(entry, where)


def split(modality: Modality, value: Any) -> list[Any]:
    """One item or several: a list is several, except that a list of pictures is one clip and a list of numbers one sound."""
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


def is_array(value: Any) -> bool:
    """An array of numpy's, or a tensor; torch itself is not imported."""
    return isinstance(value, np.ndarray) or (hasattr(value, "detach") and hasattr(value, "numpy"))


def to_numpy(value: Any) -> Array:
    """Of an array or tensor, wherever it lies; what numpy has no type for becomes float32."""
    if isinstance(value, np.ndarray):
        return value
    tensor = value.detach().cpu()
    return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())


def share(array: Array) -> tuple[Any, str, tuple[int, ...]]:
    """Its bytes, type and shape: the first three fields of a `Raw`."""
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
    """Upright; what may be transparent keeps its alpha for the decode worker, which knows the background."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    transparent = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    wanted = ("RGBA", "LA") if transparent else ("RGB", "L")
    if image.mode not in wanted:
        image = image.convert(wanted[0])
    array = np.asarray(image)
    return (array[..., None] if array.ndim == 2 else array), image.mode


def _channels_last(array: Array, where: str) -> Array:
    """Grey [H, W], [H, W, C] or [C, H, W] as [H, W, C]; the same with a leading time axis."""
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
    indices = metadata.get("frames_indices")
    total = metadata.get("total_num_frames")
    about: dict[str, Any] = {
        "fps": _number(metadata.get("fps")),
        "duration": _number(metadata.get("duration")),
        "total_num_frames": None if total is None else int(total),
        "frames_indices": None if indices is None else tuple(int(i) for i in indices),
        "do_sample_frames": bool(metadata.get("do_sample_frames", True)),
    }
    return Raw(*share(array), lambda blob: Frames(blob, **about))


def _opaque(pixels: Array) -> Array:
    """[..., 3] of [..., 1], [..., 2], [..., 3] or [..., 4]: what is transparent shows white."""
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
        entry, rate = entry[0], int(entry[1])
    if not is_array(entry) and not (isinstance(entry, list) and _all_numbers(entry)):
        raise refuse("invalid_request", "A sound is (array, sampling rate), a 1-D array, or the bytes of a file.", part=where)
    array = np.asarray(to_numpy(entry) if is_array(entry) else entry)
    if array.dtype.kind not in "fiu":
        raise refuse("invalid_request", "Samples must be numbers.", part=where)
    if array.dtype.kind in "iu":
        array = array.astype(np.float32) / float(np.iinfo(array.dtype).max)
    if array.ndim not in (1, 2):
        raise refuse("invalid_request", f"A sound has one or two axes, got shape {list(array.shape)}.", part=where)
    if array.ndim == 2 and array.shape[0] > array.shape[1]:
        array = array.T  # [samples, channels]
    return Raw(*share(array.astype(np.float32)), lambda blob: Samples(blob, rate))


# embeddings


def _embeds(modality: Modality, entry: Mapping[str, Any], where: str) -> Raw:
    tensor = entry.get(f"{modality}_embeds")
    if tensor is None or not is_array(tensor):
        raise refuse("invalid_request", f"A dict of embeddings needs '{modality}_embeds', an array or tensor.", part=where)
    array = to_numpy(tensor)
    array = array.reshape(-1, array.shape[-1]) if array.ndim == 3 else array
    grid = entry.get(f"{modality}_grid_thw")
    flat = None if grid is None else tuple(int(v) for v in np.asarray(to_numpy(grid) if is_array(grid) else grid).reshape(-1))
    if flat is not None and len(flat) != 3:
        raise refuse("invalid_request", f"{modality}_grid_thw has three numbers per item, got {len(flat)}.", part=where)
    thw = None if flat is None else (flat[0], flat[1], flat[2])
    return Raw(*share(array.astype(np.float32)), lambda blob: Embeds(blob, thw))


def _is_picture(value: Any) -> bool:
    return hasattr(value, "getexif") or (is_array(value) and value.ndim in (2, 3))


def _all_numbers(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(v, int | float) for v in value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
