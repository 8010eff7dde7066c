"""S17: the digest of an item is that of its raw bytes, by the hasher that the operator names; and
what else is in its key."""

import hashlib
from typing import Any

import pytest
from blake3 import blake3

from thespis.actors.jobs.identity import content_digest, item_key
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.request import Encoded, Frames, Pixels, Samples, Source

BYTES = bytes(range(48))


def blob(*shape: int, dtype: str = "uint8") -> BlobRef:
    return BlobRef("segment", 0, dtype, shape)


@pytest.mark.parametrize(
    ("name", "hasher"), [("blake3", blake3), ("sha256", hashlib.sha256), ("sha512", hashlib.sha512)]
)
def test_S17_a_files_digest_is_that_of_its_bytes(name: str, hasher: Any) -> None:
    assert content_digest(name, Encoded(blob(48)), BYTES) == hasher(BYTES).hexdigest()


OTHERS: list[Source] = [
    Encoded(blob(48)),
    Pixels(blob(4, 4, 3), "RGB"),
    Pixels(blob(2, 8, 3), "RGB"),
    Pixels(blob(4, 4, 3), "YCbCr"),
    Samples(blob(12, dtype="float32"), 16000),
    Samples(blob(12, dtype="float32"), 8000),
    Samples(blob(2, 6, dtype="float32"), 16000),
    Frames(blob(1, 4, 4, 3)),
    Frames(blob(1, 4, 4, 3), fps=2.0),
]


def test_S17_the_same_bytes_of_another_shape_mode_or_rate_are_others() -> None:
    assert len({content_digest("blake3", source, BYTES) for source in OTHERS}) == len(OTHERS)


def test_S17_options_and_whose_it_is_are_in_the_key() -> None:
    keys = {
        item_key("digest", "image", {}, {}, "salt"),
        item_key("another", "image", {}, {}, "salt"),
        item_key("digest", "video", {}, {}, "salt"),
        item_key("digest", "image", {"max_pixels": 5}, {}, "salt"),
        item_key("digest", "image", {}, {"rgba_background_color": [0, 0, 0]}, "salt"),
        item_key("digest", "image", {}, {}, "another's"),
    }
    assert len(keys) == 6
    one, same = ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert item_key("digest", "image", one, {}, "salt") == item_key(
        "digest", "image", same, {}, "salt"
    )
