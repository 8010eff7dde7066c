"""Which features of a checkpoint are bytes that its processor scales and shifts, found by asking it
both ways."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ...protocol.errors import RequestError
from ...protocol.pixels import PixelForm
from ...protocol.requests.request import Modality
from ..layers.pixels import expand
from .calls import sub_processor, takes
from .types import Clip, Options, ProcessedItem

RAW: Options = {"do_rescale": False, "do_normalize": False}
"""Of a processor's call: the pixels as they are after cutting and resizing."""
PICTURES = ((64, 48), (40, 200), (190, 97))
"""Height and width of noise: wide, tall, and of no round size, so that whatever is filled up is
seen."""
LARGE = (1500, 200)
"""Of one that is cut up or made smaller by whoever does that at all; narrow, because every start
waits for it."""
FRAMES = 4
CLOSE = 1e-5
"""Between a number and that of the processor, whose order of operations is its own."""

Features = Mapping[str, NDArray[Any]]
Ask = Callable[[Modality, Any, Options], tuple[str, Features]]
"""(item of this modality, options of the call) to (kind of the tower, its tensors)."""


def find_forms(
    processor: Any, tried: Mapping[Modality, ProcessedItem], ask: Ask
) -> dict[Modality, PixelForm]:
    """Of the modalities that were tried, those whose features are bytes; each of the tower that
    takes them."""
    found: dict[Modality, PixelForm] = {}
    for modality, item in tried.items():
        try:
            form = find_form(processor, modality, ask)
        except RequestError:  # it takes small items without content alone
            continue
        kind = item.parts[0].kind
        if form is not None and (kind == modality or found.get(kind) == form):
            found[modality] = form
    return found


def find_form(processor: Any, modality: Modality, ask: Ask) -> PixelForm | None:
    """None: the features are not bytes that were scaled and shifted channel by channel, or not in
    all items."""
    part = sub_processor(processor, modality)
    if modality == "audio" or not RAW.keys() <= takes(part):
        return None
    found: list[PixelForm] | None = None
    for item in _items(modality):
        kind, made = ask(modality, item, {})
        raw_kind, raw = ask(modality, item, RAW)
        name = max(made, key=lambda key: made[key].nbytes)
        if kind != raw_kind or made.keys() != raw.keys() or made[name].dtype != np.float32:
            return None
        others = made.keys() - {name}
        if not all(np.array_equal(raw[other], made[other]) for other in others):  # pixels, too
            return None
        if (bytes_ := as_bytes(raw[name])) is None:
            return None
        if found is None:  # crops may be as many as channels, in one picture
            found = list(_fitting(part, name, bytes_, made[name]))
        found = [form for form in found if _fits(form, bytes_, made[name])]
    return next(iter(found or ()), None)


def as_bytes(values: NDArray[Any]) -> NDArray[np.uint8] | None:
    """The same numbers; None where some are no bytes."""
    if values.dtype == np.uint8:
        return values
    found = values.astype(np.uint8)
    return found if np.array_equal(found, values) else None


def pack(form: PixelForm, tensors: Features) -> dict[str, NDArray[Any]] | None:
    """Features that were asked for with `RAW`, with each pixel once; None where they are not of
    this form."""
    values = as_bytes(tensors[form.name]) if form.name in tensors else None
    values = None if values is None else _once(form, values)
    return None if values is None else {**tensors, form.name: values}


def pack_item(form: PixelForm, made: ProcessedItem) -> ProcessedItem | None:
    """An item whose features were asked for with `RAW`, as bytes; None where some number of it is
    no byte."""
    first, *others = made.parts
    tensors = pack(form, first.tensors)
    if tensors is None:
        return None
    return replace(made, parts=(replace(first, tensors=tensors), *others))


def _once(form: PixelForm, values: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    if form.repeats == 1:
        return values
    split = values.reshape(*values.shape[:-1], len(form.mean), form.repeats, -1)
    first = split[..., :1, :]
    if not (split == first).all():
        return None
    return np.ascontiguousarray(first.reshape(*values.shape[:-1], -1))


def _items(modality: Modality) -> Iterator[Any]:
    noise = np.random.default_rng(0)
    for height, width in (*PICTURES, LARGE) if modality == "image" else PICTURES:
        pixels = noise.integers(0, 256, (FRAMES, height, width, 3), dtype=np.uint8)
        yield Image.fromarray(pixels[0]) if modality == "image" else Clip(pixels, 8.0)


def _fitting(
    part: Any, name: str, raw: NDArray[np.uint8], made: NDArray[np.float32]
) -> Iterator[PixelForm]:
    mean, std = _scale(part)
    most = int(getattr(part, "temporal_patch_size", None) or 1)
    orders: tuple[Literal["planes", "pixels"], ...] = ("planes", "pixels")
    for axis, order in product((-3, -1) if raw.ndim > 2 else (-1,), orders):
        form = PixelForm(name, axis, order, mean, std)
        if not _fits(form, raw, made):
            continue
        often = PixelForm(name, axis, order, mean, std, most)
        repeats = axis == -1 and order == "planes" and most > 1 and _fits(often, raw, made)
        yield often if repeats else form


def _scale(part: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel in bytes, rounded as transformers' fused normalisation
    rounds them."""
    factor = float(part.rescale_factor) if getattr(part, "do_rescale", False) else 1.0
    mean, std = ([0.0] * 3, [1.0] * 3)
    if getattr(part, "do_normalize", False):
        mean, std = part.image_mean, part.image_std
    return tuple(
        tuple((torch.tensor(numbers) * (1.0 / factor)).tolist()) for numbers in (mean, std)
    )  # type: ignore[return-value]


def _fits(form: PixelForm, raw: NDArray[np.uint8], made: NDArray[np.float32]) -> bool:
    length, channels = raw.shape[form.axis], len(form.mean)
    if length % channels or (form.axis == -3 and length != channels):
        return False
    once = _once(form, raw)
    if once is None:
        return False
    expanded = expand(torch.from_numpy(once), form).numpy()
    return expanded.shape == made.shape and bool(np.abs(expanded - made).max(initial=0.0) <= CLOSE)
