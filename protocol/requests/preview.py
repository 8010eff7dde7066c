"""What is known of a request's items before any of them is decoded."""

import msgspec

from ..wire import Record
from .request import Modality
from .sound import CutPlace, Stretch


class Preview(msgspec.Struct, frozen=True):
    """What is wanted of a request of which only the cost is."""


class ItemLook(Record, frozen=True):
    """What an item is and what its model sees of it. Pixels are those of the upright picture."""

    width: int | None = None
    height: int | None = None
    """None: it is a sound, or an embedding."""
    resized_width: int | None = None
    resized_height: int | None = None
    """As the encoder takes it; None: it is cut up or cropped, and has no one size."""
    times: tuple[float, ...] = ()
    """Seconds at which the frames that are looked at stand in their clip; (): not known."""
    seconds: float | None = None
    """How long it lasts."""
    rate: int | None = None
    """Samples a second of a sound that was to be cut, as its file has them."""
    stretches: tuple[Stretch, ...] = ()
    """The pieces of such a sound, in order."""
    rest: CutPlace | None = None
    """Where it is to be cut further in a turn of its own; None: these are all."""


class ItemCost(Record, frozen=True):
    """One item of a request, and what it takes of the prompt."""

    modality: Modality
    where: str
    """As of `MediaItem`."""
    tokens: int
    """Of the whole run that the model's processor writes for it."""
    rows: int
    """Those of them that are rows of its embedding: what usage counts."""
    look: ItemLook
