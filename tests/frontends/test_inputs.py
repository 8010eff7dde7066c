"""What a Python caller holds, as media items."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from thespis.frontends.inputs import read_media, read_prompt
from thespis.protocol.blobs import BlobRef
from thespis.protocol.errors import RequestError
from thespis.protocol.request import Encoded, Frames, Pixels, Samples, TextPrompt, TokenPrompt


class FakeClient:
    """Keeps what is put instead of sharing it."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[bytes, str, tuple[int, ...]]] = {}

    def put_bytes(self, data: Any, dtype: str = "uint8", shape: tuple[int, ...] | None = None) -> BlobRef:
        key = len(self.held)
        self.held[key] = (bytes(data), dtype, shape or (len(data),))
        return BlobRef("fake", key, dtype, shape or (len(data),))

    def drop_bytes(self, blob: BlobRef) -> None:
        del self.held[blob.offset]

    def array(self, blob: BlobRef) -> "np.ndarray[Any, Any]":
        data, dtype, shape = self.held[blob.offset]
        return np.frombuffer(data, dtype).reshape(shape)


@pytest.fixture
def client() -> Any:
    return FakeClient()


def picture(mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> Image.Image:
    return Image.new(mode, size, 7 if mode in ("L", "P") else None)


@pytest.mark.parametrize(
    ("mode", "seen", "channels"), [("RGB", "RGB", 3), ("RGBA", "RGBA", 4), ("L", "L", 1), ("CMYK", "RGB", 3)]
)
def test_pil_pictures_keep_what_a_decoder_needs(client: Any, mode: str, seen: str, channels: int) -> None:
    (item,) = read_media({"image": picture(mode)}, {}, client)
    assert isinstance(item.source, Pixels)
    assert item.source.mode == seen
    assert item.source.blob.shape == (4, 6, channels)


def test_exif_orientation_is_applied(client: Any) -> None:
    image = picture(size=(6, 4))
    image.getexif()[0x0112] = 6
    (item,) = read_media({"image": image}, {}, client)
    assert isinstance(item.source, Pixels)
    assert item.source.blob.shape == (6, 4, 3)


def test_a_four_dimensional_array_is_several_pictures(client: Any) -> None:
    items = read_media({"image": np.zeros((3, 4, 6, 3), np.uint8)}, {}, client)
    assert [item.where for item in items] == [f"multi_modal_data['image'][{i}]" for i in range(3)]


def test_floats_between_zero_and_one_are_scaled(client: Any) -> None:
    (item,) = read_media({"image": np.full((3, 4, 6), 0.5, np.float32)}, {}, client)
    assert isinstance(item.source, Pixels)
    assert client.array(item.source.blob).shape == (4, 6, 3)
    assert (client.array(item.source.blob) == 128).all()


@pytest.mark.parametrize(
    "clip",
    [
        [picture(), picture()],
        np.zeros((2, 4, 6, 3), np.uint8),
        [np.zeros((4, 6, 3), np.uint8)] * 2,
        (np.zeros((2, 4, 6, 3), np.uint8), {"fps": 4.0}),
        np.zeros((2, 3, 4, 6), np.float32),
    ],
)
def test_a_clip_is_frames_of_one_item(client: Any, clip: Any) -> None:
    (item,) = read_media({"video": clip}, {}, client)
    assert isinstance(item.source, Frames)
    assert item.source.blob.shape == (2, 4, 6, 3)


def test_several_clips_are_several_items(client: Any) -> None:
    assert len(read_media({"video": [np.zeros((2, 4, 6, 3), np.uint8)] * 3}, {}, client)) == 3


def test_sound_is_channels_first_and_keeps_its_rate(client: Any) -> None:
    (item,) = read_media({"audio": (np.zeros((100, 2), np.int16), 8000)}, {}, client)
    assert isinstance(item.source, Samples)
    assert (item.source.blob.shape, item.source.rate) == ((2, 100), 8000)


def test_bytes_stay_encoded(client: Any) -> None:
    (item,) = read_media({"image": b"\x89PNG"}, {}, client)
    assert isinstance(item.source, Encoded)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"smell": 1}, "Unsupported modality: smell"),
        ({"image": 3}, "A picture is"),
        ({"image": np.zeros((5, 5, 7))}, "1, 3 or 4 channels"),
        ({"video": "clip.mp4"}, "A clip is"),
        ({"audio": "a.wav"}, "A sound is"),
    ],
)
def test_what_is_no_medium_is_refused_by_name(client: Any, data: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError, match=text):
        read_media(data, {}, client)


def test_a_refused_item_frees_the_ones_before_it(client: Any) -> None:
    with pytest.raises(RequestError):
        read_media({"image": [picture(), 3]}, {}, client)
    assert client.held == {}


def test_uuids_must_cover_their_items(client: Any) -> None:
    expected = r"must have same length as multi_modal_data\['image'\], but got 1 vs 2"
    with pytest.raises(RequestError, match=expected):
        read_media({"image": [None, picture()]}, {"image": ["a"]}, client)


def test_an_item_may_be_an_id_alone(client: Any) -> None:
    items = read_media({"image": [None, picture()]}, {"image": ["sku", None]}, client)
    assert [(item.source is None, item.uuid) for item in items] == [(True, "sku"), (False, None)]


def test_the_forms_of_a_prompt(client: Any) -> None:
    assert read_prompt("hi", client).prompt == TextPrompt("hi")
    assert read_prompt({"prompt": "hi"}, client).text == "hi"
    assert read_prompt({"prompt_token_ids": [1, 2]}, client).prompt == TokenPrompt((1, 2))
    assert read_prompt([1, 2], client).prompt == TokenPrompt((1, 2))
    with pytest.raises(RequestError, match="A prompt is a string"):
        read_prompt({"text": "hi"}, client)
