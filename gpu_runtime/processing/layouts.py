"""What of a picture's item depends on its size alone is kept from the first of that size: of others only pixels are made."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from transformers.processing_utils import ProcessorMixin

from .calls import image_options
from .parts import features_of
from .types import Options, ProcessedItem

MOST = 64
"""Sizes that are known at once; the positions of a large picture take 100 KB."""
Key = tuple[str, tuple[int, int], bytes]


@dataclass(frozen=True)
class Layout:
    """Of pictures of one size, with one set of options."""

    item: ProcessedItem
    options: Options
    """As the picture processor is called with them."""


class Layouts:
    """Of a processor whose class takes pictures as transformers' own does: its text is made of what the picture processor
    answers. Of others, and of None, nothing is known."""

    def __init__(self, processor: Any) -> None:
        kind = type(processor)
        self._processor = processor
        self._applies = (
            isinstance(processor, ProcessorMixin)
            and kind.__call__ is ProcessorMixin.__call__
            and kind._process_images is ProcessorMixin._process_images
        )
        self._known: OrderedDict[Key, Layout] = OrderedDict()

    def learn(self, picture: Image, called: Options, item: ProcessedItem) -> None:
        if not self._applies or len(item.parts) != 1:
            return
        self._known[_key(picture, called)] = Layout(_hollow(item), image_options(self._processor, called))
        if len(self._known) > MOST:
            self._known.popitem(last=False)

    def fill(self, picture: Image, called: Options) -> ProcessedItem | None:
        """The item, its pixels made anew; None where the size is new, or the processor says something else of it this time."""
        layout = self._known.get(key := _key(picture, called)) if self._applies else None
        if layout is None:
            return None
        self._known.move_to_end(key)
        (part,) = layout.item.parts
        try:
            made = features_of(dict(self._processor.image_processor([[picture]], **layout.options)))
        except (ValueError, TypeError, IndexError, ArithmeticError, RuntimeError):  # the whole call says what it is
            return None
        tensors = {name: made[name] for name in part.tensors if name in made}
        if not _alike(tensors, part.tensors):
            return None
        return replace(layout.item, parts=(replace(part, tensors=tensors),))


def _key(picture: Image, called: Options) -> Key:
    return picture.mode, picture.size, msgspec.json.encode(called, order="sorted")


def _alike(made: dict[str, NDArray[Any]], known: dict[str, NDArray[Any]]) -> bool:
    """The same tensors but for the pixels, which have the same shape."""
    pixels = _pixels(known)
    return made.keys() == known.keys() and all(
        made[name].shape == known[name].shape
        and made[name].dtype == known[name].dtype
        and (name == pixels or np.array_equal(made[name], known[name]))
        for name in known
    )


def _hollow(item: ProcessedItem) -> ProcessedItem:
    """Without its pixels, of which the shape is left."""
    (part,) = item.parts
    name = _pixels(part.tensors)
    shape = np.broadcast_to(np.zeros((), part.tensors[name].dtype), part.tensors[name].shape)
    return replace(item, parts=(replace(part, tensors={**part.tensors, name: shape}),))


def _pixels(tensors: dict[str, NDArray[Any]]) -> str:
    return max(tensors, key=lambda name: tensors[name].nbytes)
