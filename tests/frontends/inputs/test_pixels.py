"""Pixels and samples as people hold them: every type and layout gives what the same data in a file
would give."""

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from thespis.actors.decode_worker.image import decode_image
from thespis.frontends.inputs.media import Raw
from thespis.frontends.inputs.prompts import read_media
from thespis.frontends.inputs.python_media import read_raw
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.errors import RequestError
from thespis.protocol.memory.blobs import BlobRef

GREY = np.linspace(0, 65535, 24).astype(np.uint16).reshape(4, 6)
COLOUR = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)


def read(modality: Any, entry: Any) -> "np.ndarray[Any, Any]":
    made = read_raw(modality, entry, "here")
    assert isinstance(made, Raw)
    return np.frombuffer(made.data, made.dtype).reshape(made.shape)


def rate_of(entry: Any) -> Any:
    made = read_raw("audio", entry, "here")
    assert isinstance(made, Raw)
    return getattr(made.source(BlobRef("fake", 0, made.dtype, made.shape)), "rate", None)


def of_png(image: Image.Image) -> "np.ndarray[Any, Any]":
    file = io.BytesIO()
    image.save(file, "PNG")
    return np.asarray(decode_image(file.getvalue(), MediaLimits()))[..., 0]


@pytest.mark.parametrize(
    "array", [GREY, GREY.astype(">u2"), GREY[::-1, ::-1], torch.from_numpy(GREY.copy())]
)
def test_B15_sixteen_bits_are_scaled_as_those_of_a_png(array: Any) -> None:
    whole = array.numpy() if isinstance(array, torch.Tensor) else array
    expected = of_png(Image.fromarray(np.ascontiguousarray(whole.astype(np.uint16))))
    assert np.array_equal(read("image", array)[..., 0], expected)


def test_B15_sixteen_bits_in_a_wider_picture_of_pil() -> None:
    deep = Image.fromarray(GREY.astype(np.int32))
    assert deep.mode == "I"
    assert np.array_equal(read("image", deep)[..., 0], (GREY >> 8).astype(np.uint8))
    assert np.array_equal(
        read("image", Image.fromarray(COLOUR[..., 0].astype(np.int32)))[..., 0], COLOUR[..., 0]
    )
    assert np.array_equal(
        read("image", Image.fromarray(COLOUR[..., 0] / np.float32(255)))[..., 0], COLOUR[..., 0]
    )


@pytest.mark.parametrize(
    "array",
    [
        COLOUR.astype(np.uint16) * 257,
        COLOUR.astype(np.uint32),
        COLOUR.astype(np.int16),
        COLOUR.astype(np.int64),
        COLOUR.astype(np.float32) / 255,
        COLOUR.astype(np.float64) / 255,
        COLOUR.astype(np.float32),
        COLOUR.astype(">f4"),
        np.moveaxis(COLOUR, -1, 0),
        np.moveaxis(COLOUR, -1, 0)[:, ::-1][:, ::-1],
        torch.from_numpy(COLOUR),
        torch.from_numpy(COLOUR.astype(np.int64)).permute(2, 0, 1),
        torch.from_numpy(COLOUR / 255.0).float().permute(2, 0, 1),
        torch.from_numpy(COLOUR).bfloat16(),
    ],
)
def test_B15_one_picture_in_every_type_and_layout(array: Any) -> None:
    assert np.array_equal(read("image", array), COLOUR)


def test_B15_what_has_fewer_or_more_channels() -> None:
    veil = np.dstack([COLOUR, COLOUR[..., :1]])
    assert np.array_equal(read("image", veil.astype(np.uint16) * 257), veil)
    assert np.array_equal(read("image", COLOUR[..., 0]), COLOUR[..., :1])
    assert np.array_equal(read("image", COLOUR[..., :1] / 255), COLOUR[..., :1])
    assert read("image", np.array([[True, False]]))[..., 0].tolist() == [[255, 0]]


def test_B15_floats_that_overshoot_are_still_floats_from_zero_to_one() -> None:
    assert read("image", np.array([[-0.1, 0.5, 1.1]], np.float32))[..., 0].tolist() == [
        [0, 128, 255]
    ]


def test_B15_a_dark_frame_does_not_change_the_scale_of_its_clip() -> None:
    bright, dark = np.full((4, 6, 3), 200.0), np.full((4, 6, 3), 1.0)
    assert read("video", [bright, dark])[:, 0, 0, 0].tolist() == [200, 1]


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.full((4, 6), 300, np.int32), "give 16-bit values as uint16"),
        (np.full((4, 6), -1, np.int8), "must be 0 to 255"),
        (np.full((4, 6), 70_000, np.uint32), "must be 0 to 255"),
        (np.array([[[-2.1], [2.6]]], np.float32), "normalised"),
        (np.full((4, 6), 65535.0), "0 to 1 or 0 to 255"),
        (np.full((4, 6), np.nan), "finite"),
        (np.full((4, 6), np.inf, np.float16), "finite"),
        (np.full((4, 6), 1j), "must be numbers"),
        (np.full((4, 6), None), "must be numbers"),
    ],
)
def test_B15_no_pixel_is_clipped_in_silence(array: Any, text: str) -> None:
    with pytest.raises(RequestError, match=text) as refused:
        read_raw("image", array, "here")
    assert refused.value.failure.part == "here"


WAVE = np.linspace(-0.5, 0.5, 50).astype(np.float32)


@pytest.mark.parametrize(
    "entry",
    [
        {"array": WAVE, "sampling_rate": 8000},
        {"path": "a.wav", "array": WAVE, "sampling_rate": 8000},
        {
            "path": None,
            "bytes": None,
            "array": WAVE.astype(np.float64),
            "sampling_rate": np.int64(8000),
        },
        {"raw": WAVE.tolist(), "sampling_rate": 8000.0},
        {"array": torch.from_numpy(WAVE), "sampling_rate": torch.tensor(8000)},
        (WAVE.tolist(), 8000),
    ],
)
def test_B16_a_sound_as_datasets_holds_it(entry: Any) -> None:
    assert np.array_equal(read("audio", entry), WAVE)
    assert rate_of(entry) == 8000
    assert len(read_media({"audio": entry}, {})) == 1
    assert len(read_media({"audio": [entry, entry]}, {})) == 2


def test_B16_a_decoder_of_torchcodec() -> None:
    class Decoder:
        def get_all_samples(self) -> Any:
            return SimpleNamespace(data=torch.from_numpy(WAVE)[None], sample_rate=8000)

    assert np.array_equal(read("audio", Decoder())[0], WAVE)
    assert rate_of(Decoder()) == 8000


def test_B16_channels_and_types() -> None:
    both = [WAVE.tolist(), WAVE.tolist()]
    assert read("audio", {"array": both, "sampling_rate": 8000}).shape == (2, 50)
    assert read("audio", {"array": [0.0, -0.5], "sampling_rate": 8000}).tolist() == [0.0, -0.5]
    assert read(
        "audio", {"array": np.array([-32768, 16384], np.int16), "sampling_rate": 8000}
    ).tolist() == [-1.0, 0.5]


def test_B16_files_of_a_dataset_are_files() -> None:
    for modality in ("image", "audio", "video"):
        assert read_raw(modality, {"bytes": b"file", "path": "name"}, "here") == b"file"
    assert np.array_equal(read("image", {"array": COLOUR}), COLOUR)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"array": WAVE}, "'sampling_rate' is missing"),
        ({"array": WAVE, "sampling_rate": None}, "'sampling_rate' is missing"),
        ({"array": WAVE, "sampling_rate": 8000.5}, "whole number"),
        ({"array": WAVE, "sampling_rate": "8000"}, "whole number"),
        ({"array": WAVE, "sampling_rate": True}, "whole number"),
        ({"array": WAVE, "sampling_rate": 8000, "rate": 1}, "'rate', which is not known"),
        ({"array": [100, -3000], "sampling_rate": 8000}, "no full scale"),
        ({"array": [[0.1], [0.1, 0.2]], "sampling_rate": 8000}, "A sound is"),
        ({"path": "a.wav"}, "file:// URL"),
        ({"path": "a.wav", "bytes": None}, "file:// URL"),
        ({"bytes": "UklGRg=="}, "bytes of a file"),
        ({"array": None, "sampling_rate": 8000}, "holds no data"),
        ({"something": 1}, "something|audio_embeds"),
    ],
)
def test_B16_what_is_missing_is_named(entry: Any, text: str) -> None:
    with pytest.raises(RequestError, match=text):
        read_raw("audio", entry, "here")


@pytest.mark.parametrize("kind", ["closed", "closed file", "cut"])
def test_a_picture_that_cannot_be_read_is_refused_by_name(kind: str) -> None:
    """It was PIL's own ValueError or OSError."""
    file = io.BytesIO()
    Image.effect_noise((300, 300), 64).save(file, "JPEG")
    data = file.getvalue()
    image: Image.Image = Image.open(io.BytesIO(data[: len(data) // 2] if kind == "cut" else data))
    if kind == "closed":
        image = Image.new("RGB", (3, 3))
    if kind != "cut":
        image.close()
    with pytest.raises(RequestError, match="cannot be read") as refused:
        read("image", image)
    assert refused.value.failure.part == "here"
