"""What of a picture's item depends on its size alone is kept from the first of that size: of others
only pixels are made.

Where the picture processor does no more than to resize a picture and to cut it into patches of
bytes, that is done here: what it checks and converts on the way takes three times as long. Whether
it does is seen on noise, for each set of options.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, fromarray
from transformers.processing_utils import ProcessorMixin

from ...protocol.bounded import Bounded
from .byte_patches import cut_picture
from .calls import image_options
from .parts import features_of
from .types import Options, ProcessedItem

MOST = 64
"""Sizes that are known at once; the positions of a large picture take 100 KB."""
Key = tuple[str, tuple[int, int], bytes]
_GRID = "image_grid_thw"
_NOISE = ((90, 140), (300, 40))
"""Height and width; of no round size, so that they are resized."""


@dataclass(frozen=True)
class Layout:
    """Of pictures of one size, with one set of options."""

    item: ProcessedItem
    options: Options
    """As the picture processor is called with them."""
    cut: bool
    """Its pixels are what `cut_picture` makes."""


class Layouts:
    """Of a processor whose class takes pictures as transformers' own does: its text is made of what
    the picture processor answers. Of others, and of None, nothing is known."""

    def __init__(self, processor: Any, cuts: bool = False) -> None:
        """`cuts`: its picture processor cuts bytes as `byte_patches.cut` does."""
        kind = type(processor)
        self._cuts = cuts
        self._cutting: Bounded[bytes, bool] = Bounded(MOST)
        """By options: whether nothing else is done to a picture that is asked for as bytes."""
        self._processor = processor
        self._applies = (
            isinstance(processor, ProcessorMixin)
            and kind.__call__ is ProcessorMixin.__call__
            and kind._process_images is ProcessorMixin._process_images
        )
        self._known: Bounded[Key, Layout] = Bounded(MOST)
        self._looked: Bounded[Key, ProcessedItem] = Bounded(MOST)
        """Of pictures without content, which say nothing of how pixels are made."""

    def learn(
        self, picture: Image, called: Options, item: ProcessedItem, hollow: bool = False
    ) -> None:
        """`hollow`: the picture has no content."""
        if not self._applies or len(item.parts) != 1:
            return
        key = _key(picture, called)
        if hollow:
            self._looked[key] = _hollow(item)
            return
        options = image_options(self._processor, called)
        cut = self._is_cut(picture, key[2], options, item)
        self._known[key] = Layout(_hollow(item), options, cut)

    def fill(self, picture: Image, called: Options, hollow: bool = False) -> ProcessedItem | None:
        """The item, its pixels made anew; None where the size is new, or the processor says
        something else of it this time. `hollow`: with pixels of no content, which cost nothing."""
        if not self._applies:
            return None
        key = _key(picture, called)
        layout = self._known.use(key)
        if hollow:
            return self._looked.use(key) if layout is None else layout.item
        if layout is None:
            return None
        (part,) = layout.item.parts
        if layout.cut:
            pixels = self._cut(picture, layout.options, part.tensors)
            tensors = {**part.tensors, _pixels(part.tensors): pixels}
        else:
            made = self._features(picture, layout.options) or {}  # where none, the whole call says
            tensors = {name: made[name] for name in part.tensors if name in made}
            if not _alike(tensors, part.tensors):
                return None
        return replace(layout.item, parts=(replace(part, tensors=tensors),))

    def _is_cut(self, picture: Image, name: bytes, options: Options, item: ProcessedItem) -> bool:
        """Both as was seen on noise, and of the picture at hand. `name`: of the options."""
        tensors = item.parts[0].tensors
        if not self._cuts or picture.mode != "RGB" or tensors.keys() != {_pixels(tensors), _GRID}:
            return False
        if name not in self._cutting:
            self._cutting[name] = self._cuts_noise(options)
        cuts = self._cutting[name]
        return cuts and _same(self._cut(picture, options, tensors), tensors[_pixels(tensors)])

    def _cuts_noise(self, options: Options) -> bool:
        dice = np.random.default_rng(0)
        for sides in _NOISE:
            noise = fromarray(dice.integers(0, 256, (*sides, 3), dtype=np.uint8))
            made = self._features(noise, options)
            if made is None or not _same(self._cut(noise, options, made), made[_pixels(made)]):
                return False
        return True

    def _features(self, picture: Image, options: Options) -> dict[str, NDArray[Any]] | None:
        """By the processor of pictures alone; None of what it does not take, as a side that is no
        whole number of patches where nothing is resized."""
        try:
            return features_of(dict(self._processor.image_processor([[picture]], **options)))
        except (ValueError, TypeError, IndexError, ArithmeticError, RuntimeError):
            return None

    def _cut(
        self, picture: Image, options: Options, tensors: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.uint8]:
        return cut_picture(picture, self._processor.image_processor, options, tensors[_GRID])


def _same(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    return ours.dtype == theirs.dtype and np.array_equal(ours, theirs)


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


def _pixels(tensors: Mapping[str, NDArray[Any]]) -> str:
    return max(tensors, key=lambda name: tensors[name].nbytes)
