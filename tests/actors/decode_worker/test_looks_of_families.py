"""What every family's processor makes of an item by its headers is what it makes of the item, but
for the features."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from thespis.actors.decode_worker.item import DECODED, LOOKED_AT, ItemDecoder, Made
from thespis.gpu_runtime.processing import Processor, load
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.errors import RequestError
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.request import Encoded, Modality

from ...gpu_runtime.processing.families import FAMILIES, write
from ...helpers.random_media import CLIPS, SOUNDS, random_clip, random_picture, random_sound
from ...zoo.catalog import NAMES, Zoo

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
ROWS = 1 << 20
FILE = Encoded(BlobRef("segment", 0, "uint8", (1,)))


def drawn(draw: Random, modality: Modality) -> bytes:
    match modality:
        case "image":
            return random_picture(draw, draw.choice(("PNG", "JPEG", "WEBP"))).data
        case "video":
            return random_clip(draw, *draw.choice(CLIPS[:2])).data
        case _:
            return random_sound(draw, *draw.choice(SOUNDS[:7])).data


def layout(made: Made) -> Any:
    """All but the features."""
    item = made.item
    parts = [(part.kind, part.rows, part.embed_token_id) for part in item.parts]
    arrays = [None if one is None else one.tolist() for one in (item.planes, item.anchors)]
    text = (item.text, item.counts, item.number, item.advance, item.tokens)
    return text, parts, arrays, made.look


def read(decoder: ItemDecoder, modality: Modality, data: bytes, by: Any) -> Any:
    try:
        return layout(decoder.features(modality, FILE, data, {}, {}, by))
    except RequestError as refused:
        return refused.failure


def check(processor: Processor, seed: str, count: int) -> None:
    decoder, draw = ItemDecoder(processor, 64, MediaLimits(), ROWS), Random(seed)
    for modality in processor.placeholders():
        for _ in range(count):
            data = drawn(draw, modality)
            told = read(decoder, modality, data, LOOKED_AT)
            assert told == read(decoder, modality, data, DECODED)


@pytest.mark.parametrize("name", NAMES)
def test_of_a_published_form(name: str, zoo: Zoo) -> None:
    check(load(zoo(name)), name, 2)


@pytest.mark.parametrize("name", FAMILIES)
def test_of_published_sizes(name: str, tmp_path: Path) -> None:
    try:
        write(name, tmp_path)
    except ImportError as missing:
        pytest.skip(str(missing))
    check(load(tmp_path), name, 1)


def test_resized_sizes_are_those_of_the_grid(checkpoints: Any) -> None:
    """As transformers' own picture processor says of the picture itself."""
    from PIL import Image

    folder = checkpoints("qwen_vl")
    processor = load(folder)
    decoder, draw = ItemDecoder(processor, 64, MediaLimits(), ROWS), Random(3)
    for _ in range(5):
        data = random_picture(draw, "PNG").data
        made = decoder.features("image", FILE, data, {}, {}, LOOKED_AT)
        part: Any = processor._processor.image_processor
        shown = decoder.features("image", FILE, data, {}, {}, DECODED)
        size = (made.look.height or 0, made.look.width or 0)
        picture = Image.fromarray(np.zeros((*size, 3), np.uint8))
        grid = part(picture)["image_grid_thw"][0].tolist()
        assert (made.look.resized_height, made.look.resized_width) == (
            grid[1] * part.patch_size,
            grid[2] * part.patch_size,
        )
        assert made.look == shown.look
