"""What a prompt and its media would cost: asked of the engine, which reads headers and decodes
nothing, and worded for every face alike."""

import re
from typing import TYPE_CHECKING, Literal

import msgspec

from ...protocol.edges.preprocessor_to_client import Previewed
from ...protocol.requests.preview import ItemCost, Preview
from ...protocol.requests.request import Modality

if TYPE_CHECKING:  # a reader of bodies, which starts beside streams, submits nothing
    from ..client.client import Client
    from ..client.stream import Stream

WANTED = Preview()
_PLACE = re.compile(r"messages\[(\d+)\]\.content\[(\d+)\](?:, page (\d+))?")


class ItemPreview(msgspec.Struct):
    """One picture, clip or sound."""

    message: int | None
    """Which message of the conversation has it; None: it is of a prompt."""
    part: int | None
    page: int | None
    """Of the document that the part is; None: it is none."""
    kind: Modality
    tokens: int
    """Of the whole run that stands for it: its rows, and what the model's processor writes between
    them."""
    rows: int
    """What `usage` counts as the modality's tokens."""
    width: int | None = None
    height: int | None = None
    """Of the upright picture or frame, in pixels; None: it is a sound or an embedding."""
    resized_width: int | None = None
    resized_height: int | None = None
    """As the model sees it; None: it is cut up or cropped, and has no one size there."""
    scale_x: float | None = None
    scale_y: float | None = None
    """What a place in resized pixels is to be multiplied with for one in the item's own."""
    times: tuple[float, ...] = ()
    """Seconds at which the frames stand that the model looks at."""
    seconds: float | None = None
    """How long a clip or a sound lasts."""


class MediaPreview(msgspec.Struct):
    """The cost of one prompt."""

    model: str
    items: list[ItemPreview]
    prompt_tokens: int
    """Of text and media together: the `usage.prompt_tokens` of an answer."""
    max_model_len: int
    max_tokens_left: int
    """Tokens that an answer may have."""
    fits: bool
    """Whether the request would be taken."""
    object: Literal["media.preview"] = "media.preview"


async def preview_of(stream: "Stream", client: "Client") -> MediaPreview:
    """Read a request that was submitted with WANTED to its end. Raises RequestError."""
    async for _ in stream:
        pass
    assert stream.previewed is not None, "a preview that ends well has a cost"
    return _worded(stream.previewed, client)


def _worded(cost: Previewed, client: "Client") -> MediaPreview:
    left = client.max_model_len - cost.prompt_tokens
    answer = client.model.output == "token"
    return MediaPreview(
        model=client.model_name,
        items=[_item(item) for item in cost.items],
        prompt_tokens=cost.prompt_tokens,
        max_model_len=client.max_model_len,
        max_tokens_left=max(0, left) if answer else 0,
        fits=left >= answer,
    )


def _item(cost: ItemCost) -> ItemPreview:
    place, look = _PLACE.match(cost.where), cost.look
    message, part, page = map(_number, place.groups() if place else (None, None, None))
    return ItemPreview(
        message=message,
        part=part,
        page=page,
        kind=cost.modality,
        tokens=cost.tokens,
        rows=cost.rows,
        width=look.width,
        height=look.height,
        resized_width=look.resized_width,
        resized_height=look.resized_height,
        scale_x=_ratio(look.width, look.resized_width),
        scale_y=_ratio(look.height, look.resized_height),
        times=look.times,
        seconds=look.seconds,
    )


def _number(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


def _ratio(own: int | None, resized: int | None) -> float | None:
    return own / resized if own and resized else None
