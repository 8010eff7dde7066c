"""What a Python caller holds, as media items."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from thespis.frontends.inputs.conversations import is_conversation
from thespis.frontends.inputs.media import Pending, Raw
from thespis.frontends.inputs.prompts import is_prompt, read_media, read_prompt
from thespis.protocol.errors import RequestError
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.request import Frames, Pixels, Samples, TextPrompt, TokenPrompt


def array(item: Pending) -> "np.ndarray[Any, Any]":
    assert isinstance(item.content, Raw)
    return np.frombuffer(item.content.data, item.content.dtype).reshape(item.content.shape)


def source(item: Pending) -> Any:
    """What the engine would be told of it."""
    assert isinstance(item.content, Raw)
    return item.content.source(BlobRef("fake", 0, item.content.dtype, item.content.shape))


def picture(mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> Image.Image:
    return Image.new(mode, size, 7 if mode in ("L", "P") else None)


@pytest.mark.parametrize(
    ("mode", "seen", "channels"),
    [
        ("RGB", "RGB", 3),
        ("RGBA", "RGBA", 4),
        ("L", "L", 1),
        ("CMYK", "RGB", 3),
        ("LA", "LA", 2),
        ("PA", "RGBA", 4),
    ],
)
def test_pil_pictures_keep_what_a_decoder_needs(mode: str, seen: str, channels: int) -> None:
    (item,) = read_media({"image": picture(mode)}, {})
    assert isinstance(source(item), Pixels)
    assert source(item).mode == seen
    assert source(item).blob.shape == (4, 6, channels)


def test_exif_orientation_is_applied() -> None:
    image = picture(size=(6, 4))
    image.getexif()[0x0112] = 6
    (item,) = read_media({"image": image}, {})
    assert isinstance(source(item), Pixels)
    assert source(item).blob.shape == (6, 4, 3)


def test_a_four_dimensional_array_is_several_pictures() -> None:
    items = read_media({"image": np.zeros((3, 4, 6, 3), np.uint8)}, {})
    assert [item.where for item in items] == [f"multi_modal_data['image'][{i}]" for i in range(3)]


def test_floats_between_zero_and_one_are_scaled() -> None:
    (item,) = read_media({"image": np.full((3, 4, 6), 0.5, np.float32)}, {})
    assert isinstance(source(item), Pixels)
    assert array(item).shape == (4, 6, 3)
    assert (array(item) == 128).all()


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
def test_a_clip_is_frames_of_one_item(clip: Any) -> None:
    (item,) = read_media({"video": clip}, {})
    assert isinstance(source(item), Frames)
    assert source(item).blob.shape == (2, 4, 6, 3)


def test_several_clips_are_several_items() -> None:
    assert len(read_media({"video": [np.zeros((2, 4, 6, 3), np.uint8)] * 3}, {})) == 3


def test_sound_is_channels_first_and_keeps_its_rate() -> None:
    (item,) = read_media({"audio": (np.zeros((100, 2), np.int16), 8000)}, {})
    assert isinstance(source(item), Samples)
    assert (source(item).blob.shape, source(item).rate) == ((2, 100), 8000)


def test_bytes_stay_encoded() -> None:
    (item,) = read_media({"image": b"\x89PNG"}, {})
    assert isinstance(item.content, bytes)


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
def test_what_is_no_medium_is_refused_by_name(data: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError, match=text):
        read_media(data, {})


def test_uuids_must_cover_their_items() -> None:
    expected = r"must have same length as multi_modal_data\['image'\], but got 1 vs 2"
    with pytest.raises(RequestError, match=expected):
        read_media({"image": [None, picture()]}, {"image": ["a"]})


def test_an_item_may_be_an_id_alone() -> None:
    items = read_media({"image": [None, picture()]}, {"image": ["sku", None]})
    assert [(item.content is None, item.uuid) for item in items] == [(True, "sku"), (False, None)]


def test_the_forms_of_a_prompt() -> None:
    assert read_prompt("hi").prompt == TextPrompt("hi")
    assert read_prompt({"prompt": "hi"}).text == "hi"
    assert read_prompt({"prompt_token_ids": [1, 2]}).prompt == TokenPrompt((1, 2))
    assert read_prompt([1, 2]).prompt == TokenPrompt((1, 2))
    with pytest.raises(RequestError, match="A prompt is a string"):
        read_prompt({"media_io_kwargs": {}})


@pytest.mark.parametrize("given", [5, None, ["one", "two"], object()])
def test_what_is_no_prompt_is_told_what_one_is(given: Any) -> None:
    with pytest.raises(RequestError, match="A prompt is a string, token ids, or a dict"):
        read_prompt(given)


@pytest.mark.parametrize(
    ("given", "prompt", "conversation"),
    [
        ("text", True, False),
        ({"prompt": "text"}, True, False),
        ([1, 2], True, False),
        ((1, 2), True, False),
        (["one", "two"], False, False),
        ([[1], [2]], False, False),
        ([{"role": "user", "content": "Hi"}], False, True),
        ([[{"role": "user", "content": "Hi"}]], False, False),
        ([], False, False),
    ],
)
def test_one_is_told_from_several(given: Any, prompt: bool, conversation: bool) -> None:
    assert (is_prompt(given), is_conversation(given)) == (prompt, conversation)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def refused_below(frames: int, options: dict[str, Any]) -> str | None:
    """The refusal of a call that stands so deep."""
    if frames:
        return refused_below(frames - 1, options)
    try:
        read_prompt("a", options)
    except RequestError as error:
        return str(error)
    return None


@pytest.mark.parametrize("frames", [0, 500])
def test_options_nest_as_deep_whatever_their_callers_stack(frames: int) -> None:
    ring: dict[str, Any] = {}
    ring["again"] = ring
    text = "mm_processor_kwargs: It nests deeper than 128 levels."
    assert refused_below(frames, {"x": nested(127)}) is None
    for deep in (nested(128), nested(980), ring):
        assert refused_below(frames, {"x": deep}) == text
