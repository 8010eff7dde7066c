"""Media as Python objects (PIL pictures, arrays, tensors) into bytes that can be shared. Nothing is
decoded or resized: decode workers do that within limits. Refusals name the item. Pure."""

import logging
import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from ...actors.jobs.pictures import may_be_clear, upright
from ...protocol.errors import invalid
from ...protocol.requests.request import CLIP_FACTS, Frames, Modality, Pixels, Samples
from .clip_metadata import read_facts
from .dataset_forms import is_dataset_form, read_dataset_form
from .embeds import is_array, looks_like_embeds, read_embeds, split_embeds, to_numpy
from .media import Raw
from .pixels import Array, channels_last, to_bytes
from .unread import Unread

log = logging.getLogger(__name__)
DESCRIPTIVE = ("video_backend", "width", "height")
"""What video readers also write into a clip's metadata; it says nothing that the frames do not."""


def read_raw(modality: Modality, entry: Any, where: str) -> bytes | Raw:
    """One item: a file's bytes, a PIL picture, an array, a tensor, a clip, a sound, or a dict."""
    if isinstance(entry, Mapping) and is_dataset_form(modality, entry):
        entry = read_dataset_form(modality, entry, where)
    if isinstance(entry, bytes | bytearray | memoryview):
        return bytes(entry)
    if isinstance(entry, Mapping):
        return read_embeds(modality, entry, where, strict=True)
    if looks_like_embeds(modality, entry):
        return read_embeds(modality, {f"{modality}_embeds": entry}, where)
    match modality:
        case "image":
            return _picture(entry, where)
        case "video":
            return _clip(entry, where)
        case _:
            return _sound(entry, where)


def split(modality: Modality, value: Any) -> list[Any]:
    """A list is several items, but a list of pictures is one clip, and one of numbers one sound."""
    if isinstance(value, Mapping):
        return [value] if is_dataset_form(modality, value) else list(split_embeds(modality, value))
    bare = value if isinstance(value, list) else [value]
    if bare and all(looks_like_embeds(modality, entry) for entry in bare):
        return list(split_embeds(modality, {f"{modality}_embeds": value}))
    if is_array(value):
        several = {"image": 4, "video": 5, "audio": 3}[modality]
        return list(value) if value.ndim == several else [value]
    if (
        modality == "video"
        and isinstance(value, list)
        and value
        and all(_is_picture(frame) for frame in value)
    ):
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
        return _of_pil(entry, where)
    if is_array(entry) and entry.ndim in (2, 3):
        array = to_bytes(channels_last(to_numpy(entry), where), where)
        return array, {1: "L", 3: "RGB", 4: "RGBA"}[array.shape[-1]]
    raise invalid("A picture is a PIL image, an array or tensor, or the bytes of a file.", where)


def _of_pil(image: Any, where: str) -> tuple[Array, str]:
    """Upright. Alpha is kept for the decode worker, which knows the background."""
    try:
        image.load()  # what was opened only is read now, by any of PIL's readers
    except MemoryError:
        raise
    except Exception:
        text = "The picture cannot be read: it was closed, or its file is damaged."
        raise invalid(text, where) from None
    image = upright(image)
    wanted = ("RGBA", "LA") if may_be_clear(image) else ("RGB", "L")
    if image.mode[0] in "IF":  # PIL would clip at 255
        deep = np.asarray(image)
        if (
            image.mode == "I"
            and deep.max(initial=0) > 255
            and 0 <= deep.min(initial=0) <= deep.max(initial=0) < 1 << 16
        ):
            deep = deep.astype(np.uint16)  # as PIL writes this mode into a PNG
        return to_bytes(deep, where)[..., None], "L"
    if image.mode not in wanted:
        image = image.convert(wanted[0])
    array = np.asarray(image)
    return (array[..., None] if array.ndim == 2 else array), image.mode


# clips


def _clip(entry: Any, where: str) -> Raw:
    metadata: Mapping[str, Any] = {}
    if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], Mapping):
        entry, metadata = entry
    if isinstance(entry, list | tuple):
        if not entry:
            raise invalid("A clip has at least one frame.", where)
        # Whether floats end at 1 or at 255 is told by the whole clip, not by a dark frame.
        if _stackable(entry):
            return _clip((np.stack([to_numpy(frame) for frame in entry]), metadata), where)
        frames = [_opaque(_pixels(frame, where)[0]) for frame in entry]
        if len({frame.shape for frame in frames}) != 1:
            raise invalid("All frames of a clip must have one size.", where)
        array = np.stack(frames)
    elif is_array(entry) and entry.ndim == 4:
        array = _opaque(to_bytes(channels_last(to_numpy(entry), where), where))
    else:
        raise invalid(
            "A clip is a list of frames, a 4-D array or tensor, or the bytes of a file.", where
        )
    Unread(strict=True).check(metadata, (*CLIP_FACTS, *DESCRIPTIVE), where)
    facts = read_facts(metadata, where)
    return Raw(*share(array), lambda blob: Frames(blob, **facts))


def _stackable(frames: list[Any] | tuple[Any, ...]) -> bool:
    """Arrays [H, W, C] or [C, H, W] of one shape and type."""
    first = frames[0]
    if not all(is_array(frame) for frame in frames) or first.ndim != 3:
        return False
    return all(frame.shape == first.shape and frame.dtype == first.dtype for frame in frames)


def _opaque(pixels: Array) -> Array:
    """[..., 3] from [..., 1] to [..., 4]: white shows through what is transparent."""
    channels = pixels.shape[-1]
    colours = pixels[..., : 1 if channels < 3 else 3]
    if channels in (2, 4):
        alpha = pixels[..., -1:].astype(np.uint16)
        colours = ((colours * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.repeat(colours, 3, axis=-1) if channels < 3 else colours


# sounds


def _sound(entry: Any, where: str) -> Raw:
    rate: int | None = None
    # Torchcodec's decoder, which newer versions of `datasets` give.
    if hasattr(entry, "get_all_samples"):
        samples = entry.get_all_samples()
        entry = (samples.data, samples.sample_rate)
    if isinstance(entry, tuple) and len(entry) == 2:
        entry, rate = entry[0], _rate(entry[1], where)
    else:
        _tell_of_rate()
    array = _full_scale(_samples(entry, where), where)
    if array.ndim not in (1, 2):
        raise invalid(f"A sound has one or two axes, got shape {list(array.shape)}.", where)
    if array.ndim == 2 and array.shape[0] > array.shape[1]:
        array = array.T  # [samples, channels]
    return Raw(*share(array.astype(np.float32)), lambda blob: Samples(blob, rate))


def _rate(given: Any, where: str) -> int:
    try:
        rate = float(given)
    except (TypeError, ValueError, OverflowError):
        rate = math.nan
    if isinstance(given, bool | str) or not rate.is_integer():
        raise invalid("The sampling rate of a sound is a whole number.", where)
    return int(rate)


def _samples(entry: Any, where: str) -> Array:
    """From an array, a tensor, or a list of numbers or of channels."""
    if is_array(entry):
        return to_numpy(entry)
    rows = entry if isinstance(entry, list) and entry and isinstance(entry[0], list) else [entry]
    if (
        not all(isinstance(row, list) and _all_numbers(row) for row in rows)
        or len({len(row) for row in rows}) > 1
    ):
        text = (
            "A sound is (array, sampling rate), {'array': ..., 'sampling_rate': ...}, an array "
            "or list of samples, "
            "or the bytes of a file."
        )
        raise invalid(text, where)
    return np.asarray(entry)


def _full_scale(array: Array, where: str) -> Array:
    """Floats as they are; integers by the full range of their type."""
    if array.dtype.kind not in "fiu":
        raise invalid("Samples must be numbers.", where)
    if array.dtype.kind == "f":
        return array
    if array.dtype.itemsize == 8:  # of numbers that nobody has given a type
        if array.size and (array.max() > 1 or array.min() < -1 + (array.dtype.kind == "u")):
            text = (
                f"Samples of type {array.dtype.name} have no full scale; give floats from -1 to "
                f"1, int16 or int32."
            )
            raise invalid(text, where)
        return array
    middle = 2.0 ** (8 * array.dtype.itemsize - 1)  # unsigned samples swing around it
    return (array.astype(np.float64) - (middle if array.dtype.kind == "u" else 0.0)) / middle


@cache
def _tell_of_rate() -> None:
    """Only once: a caller that gives one such array gives many."""
    log.warning(
        "a sound without its sampling rate is taken as being at the model's; give (array, "
        "sampling_rate)"
    )


def _is_picture(value: Any) -> bool:
    return hasattr(value, "getexif") or (is_array(value) and value.ndim in (2, 3))


def _all_numbers(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(v, int | float) for v in value)
