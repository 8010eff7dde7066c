"""The offline inputs of `generate`: what a Python caller holds (PIL pictures, arrays, tensors, bytes) into a prompt and media
items whose content lies in shared memory. Raises RequestError that names the item.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from ..protocol.blobs import BlobRef
from ..protocol.errors import refuse
from ..protocol.request import (
    MODALITIES,
    Embeds,
    Encoded,
    Frames,
    MediaItem,
    Modality,
    Pixels,
    Prompt,
    Samples,
    Source,
    TextPrompt,
    TokenPrompt,
)
from .client import Client

PromptInput = str | Mapping[str, Any] | Sequence[int]


class Submission(msgspec.Struct, frozen=True):
    """A call's input, ready for `Client.submit`."""

    prompt: Prompt
    media: tuple[MediaItem, ...] = ()
    mm_processor_kwargs: dict[str, Any] = {}
    media_io_kwargs: dict[str, dict[str, Any]] = {}
    text: str | None = None
    """The prompt as the caller wrote it."""


def read_prompt(given: PromptInput, client: Client) -> Submission:
    """A string, `{"prompt": ...}`, `{"prompt_token_ids": ...}` or a list of token ids, with `multi_modal_data` and its ids."""
    if isinstance(given, str):
        return Submission(TextPrompt(given), text=given)
    if not isinstance(given, Mapping):
        return Submission(TokenPrompt(tuple(int(token) for token in given)))
    prompt: Prompt
    if given.get("prompt_token_ids") is not None:
        prompt = TokenPrompt(tuple(int(token) for token in given["prompt_token_ids"]))
    elif isinstance(given.get("prompt"), str):
        prompt = TextPrompt(given["prompt"])
    else:
        raise refuse("invalid_request", "A prompt is a string, or a dict with 'prompt' or 'prompt_token_ids'.", part="prompt")
    media = read_media(given.get("multi_modal_data") or {}, given.get("multi_modal_uuids") or {}, client)
    return Submission(
        prompt,
        media,
        dict(given.get("mm_processor_kwargs") or {}),
        dict(given.get("media_io_kwargs") or {}),
        given.get("prompt") if isinstance(prompt, TextPrompt) else None,
    )


def read_media(data: Mapping[str, Any], uuids: Mapping[str, Any], client: Client) -> tuple[MediaItem, ...]:
    items: list[MediaItem] = []
    for name in data:
        if name not in MODALITIES:
            raise refuse("invalid_request", f"Unsupported modality: {name}", part="multi_modal_data")
    try:
        for modality in MODALITIES:
            if modality not in data:
                continue
            entries = _as_list(modality, data[modality])
            names = _uuids(modality, uuids, len(entries))
            for index, (entry, uuid) in enumerate(zip(entries, names, strict=True)):
                where = f"multi_modal_data['{modality}'][{index}]"
                source = None if entry is None else _source(modality, entry, where, client)
                items.append(MediaItem(modality, source, where, uuid))
    except BaseException:
        for item in items:
            if item.source is not None:
                client.drop_bytes(_blob(item.source))
        raise
    return tuple(items)


def _blob(source: Source) -> BlobRef:
    assert isinstance(source, Encoded | Pixels | Frames | Samples | Embeds)
    return source.blob


def _uuids(modality: str, uuids: Mapping[str, Any], count: int) -> list[str | None]:
    if not uuids:
        return [None] * count
    given = uuids.get(modality)
    names = [given] if isinstance(given, str) else list(given or ())
    if len(names) != count:
        raise refuse(
            "invalid_request",
            f"If given, multi_modal_uuids['{modality}'] must have same length as multi_modal_data['{modality}'], "
            f"but got {len(names)} vs {count}.",
            part="multi_modal_uuids",
        )
    return names


def _as_list(modality: Modality, value: Any) -> list[Any]:
    """One item or several: a list is several, except that a list of pictures is one clip."""
    if modality == "image":
        if _is_array(value) and _rank(value) == 4:
            return list(value)
        return list(value) if isinstance(value, list) else [value]
    if modality == "audio":
        return list(value) if isinstance(value, list) and not _all_numbers(value) else [value]
    if isinstance(value, list) and value and all(_is_picture(frame) for frame in value):
        return [value]
    if _is_array(value) and _rank(value) == 5:
        return list(value)
    return list(value) if isinstance(value, list) else [value]


def _source(modality: Modality, entry: Any, where: str, client: Client) -> Source:
    if isinstance(entry, bytes | bytearray | memoryview):
        return Encoded(client.put_bytes(bytes(entry)))
    if isinstance(entry, Mapping):
        return _embeds(modality, entry, where, client)
    match modality:
        case "image":
            array, mode = _picture(entry, where)
            return Pixels(_put(client, array), mode)
        case "video":
            return _clip(entry, where, client)
        case "audio":
            return _sound(entry, where, client)


def _put(client: Client, array: "np.ndarray[Any, Any]") -> BlobRef:
    array = np.ascontiguousarray(array)
    return client.put_bytes(array.data.cast("B") if array.size else b"", str(array.dtype), array.shape)


def _picture(entry: Any, where: str) -> tuple["np.ndarray[Any, Any]", str]:
    """[H, W, C] uint8 and its mode."""
    if hasattr(entry, "getexif"):
        return _from_pil(entry)
    if _is_array(entry):
        array = _to_uint8(_channels_last(_numpy(entry), where), where)
        mode = {1: "L", 3: "RGB", 4: "RGBA"}[array.shape[-1]]
        return array, mode
    raise refuse("invalid_request", "A picture is a PIL image, an array or tensor, or the bytes of a file.", part=where)


def _from_pil(image: Any) -> tuple["np.ndarray[Any, Any]", str]:
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        image = image.convert("RGBA" if image.mode in ("PA", "P") and "transparency" in image.info else "RGB")
    elif image.mode in ("RGB", "L") and "transparency" in image.info:
        image = image.convert("RGBA")
    array = np.asarray(image)
    return (array[..., None] if array.ndim == 2 else array), image.mode


def _channels_last(array: "np.ndarray[Any, Any]", where: str) -> "np.ndarray[Any, Any]":
    """Grey [H, W], [H, W, C] or [C, H, W] as [H, W, C]; the same with a leading time axis."""
    if array.ndim == 2:
        return array[..., None]
    if array.shape[-1] in (1, 3, 4):
        return array
    if array.shape[-3] in (1, 3, 4):
        return np.moveaxis(array, -3, -1)
    raise refuse("invalid_request", f"Pixels have 1, 3 or 4 channels, got an array of shape {list(array.shape)}.", part=where)


def _to_uint8(array: "np.ndarray[Any, Any]", where: str) -> "np.ndarray[Any, Any]":
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise refuse("invalid_request", "Pixels must be finite numbers.", part=where)
        scale = 255.0 if array.size == 0 or array.max() <= 1.0 else 1.0
        array = np.rint(array * scale)
    pixels: np.ndarray[Any, Any] = np.clip(array, 0, 255).astype(np.uint8)
    return pixels


def _clip(entry: Any, where: str, client: Client) -> Source:
    metadata: Mapping[str, Any] = {}
    if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], Mapping):
        entry, metadata = entry
    if isinstance(entry, list | tuple):
        if not entry:
            raise refuse("invalid_request", "A clip has at least one frame.", part=where)
        pictures = [_picture(frame, where)[0] for frame in entry]
        if len({picture.shape for picture in pictures}) != 1:
            raise refuse("invalid_request", "All frames of a clip must have one size.", part=where)
        array = np.stack(pictures)
    elif _is_array(entry) and _rank(entry) == 4:
        array = _to_uint8(_channels_last(_numpy(entry), where), where)
    else:
        raise refuse(
            "invalid_request", "A clip is a list of frames, a 4-D array or tensor, or the bytes of a file.", part=where
        )
    if array.shape[-1] == 1:
        array = np.repeat(array, 3, axis=-1)
    indices = metadata.get("frames_indices")
    return Frames(
        _put(client, array[..., :3]),
        fps=_number(metadata.get("fps")),
        duration=_number(metadata.get("duration")),
        total_num_frames=metadata.get("total_num_frames"),
        frames_indices=None if indices is None else tuple(int(i) for i in indices),
        do_sample_frames=bool(metadata.get("do_sample_frames", True)),
    )


def _sound(entry: Any, where: str, client: Client) -> Source:
    rate: int | None = None
    if isinstance(entry, tuple) and len(entry) == 2:
        entry, rate = entry[0], int(entry[1])
    if not _is_array(entry) and not (isinstance(entry, list) and _all_numbers(entry)):
        raise refuse("invalid_request", "A sound is (array, sampling rate), a 1-D array, or the bytes of a file.", part=where)
    array = np.asarray(_numpy(entry) if _is_array(entry) else entry)
    if array.dtype.kind in "iu":
        array = array.astype(np.float32) / float(np.iinfo(array.dtype).max)
    if array.ndim not in (1, 2):
        raise refuse("invalid_request", f"A sound has one or two axes, got shape {list(array.shape)}.", part=where)
    if array.ndim == 2 and array.shape[0] > array.shape[1]:
        array = array.T  # [samples, channels]
    return Samples(_put(client, array.astype(np.float32)), rate)


def _embeds(modality: Modality, entry: Mapping[str, Any], where: str, client: Client) -> Source:
    tensor = entry.get(f"{modality}_embeds")
    if tensor is None or not _is_array(tensor):
        raise refuse("invalid_request", f"A dict of embeddings needs '{modality}_embeds', an array or tensor.", part=where)
    array = _numpy(tensor)
    array = array.reshape(-1, array.shape[-1]) if array.ndim == 3 else array
    grid = entry.get(f"{modality}_grid_thw")
    flat = None if grid is None else tuple(int(v) for v in np.asarray(_numpy(grid) if _is_array(grid) else grid).reshape(-1))
    if flat is not None and len(flat) != 3:
        raise refuse("invalid_request", f"{modality}_grid_thw has three numbers per item, got {len(flat)}.", part=where)
    return Embeds(_put(client, array.astype(np.float32)), None if flat is None else (flat[0], flat[1], flat[2]))


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (hasattr(value, "detach") and hasattr(value, "numpy"))


def _rank(value: Any) -> int:
    return len(value.shape)


def _numpy(value: Any) -> "np.ndarray[Any, Any]":
    if isinstance(value, np.ndarray):
        return value
    tensor = value.detach().cpu()
    return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())


def _is_picture(value: Any) -> bool:
    return hasattr(value, "getexif") or (_is_array(value) and _rank(value) in (2, 3))


def _all_numbers(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(v, int | float) for v in value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
