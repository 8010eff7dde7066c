"""S25 to S27, and pictures in every format."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thespis import LLM, SamplingParams

from ..helpers.media import data_url, picture
from .containers import encoded
from .faces import Face, ask, refusal
from .rules import GREY

pytestmark = pytest.mark.process


def part(content: bytes, kind: str = "image/png") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(kind, content)}}


def veiled(mode: str) -> Image.Image:
    """A mosaic behind a veil that lets more through from left to right."""
    image = picture(7).convert("RGBA")
    image.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 56).astype(np.uint8), (56, 1))))
    return image if mode == "RGBA" else image.convert(mode)


def with_chunk(mode: str) -> bytes:
    """A PNG of a mode without alpha, in which one colour is declared transparent."""
    image = picture(8).quantize(16) if mode == "P" else picture(8)
    clear: Any = 3 if mode == "P" else image.getpixel((0, 0))
    return encoded(image, "PNG", transparency=clear)


def on(colour: tuple[int, int, int], content: bytes) -> bytes:
    """What the model ought to see, as an opaque PNG."""
    layer = Image.open(io.BytesIO(content)).convert("RGBA")
    return encoded(
        Image.alpha_composite(Image.new("RGBA", layer.size, (*colour, 255)), layer).convert("RGB"),
        "PNG",
    )


TRANSPARENT = {
    "RGBA": lambda: encoded(veiled("RGBA"), "PNG"),
    "LA": lambda: encoded(veiled("LA"), "PNG"),
    "P": lambda: with_chunk("P"),
    "RGB": lambda: with_chunk("RGB"),
    "webp": lambda: encoded(veiled("RGBA"), "WEBP", lossless=True, exact=True),
}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_S25_white_shows_through(any_face: Face, name: str) -> None:
    content = TRANSPARENT[name]()
    seen, white, black = (
        ask(any_face, [part(c)])
        for c in (content, on((255, 255, 255), content), on((0, 0, 0), content))
    )
    assert seen.token_ids == white.token_ids != black.token_ids


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "RGB"])
def test_S25_pictures_of_pil(llm: LLM, mode: str) -> None:
    """The last two with a colour that is declared transparent."""
    image: Image.Image = (
        Image.open(io.BytesIO(with_chunk(mode)))
        if mode in ("P", "RGB")
        else veiled(mode.replace("P", "L"))
    )
    if mode == "PA":
        image = image.convert("PA")
    layer = image.convert("RGBA")
    flat = Image.alpha_composite(
        Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer
    ).convert("RGB")
    assert told(llm, image) == told(llm, flat)


def told(llm: LLM, image: Image.Image) -> list[int]:
    message = {"role": "user", "content": [{"type": "image_pil", "image_pil": image}]}
    (output,) = llm.chat([message], SamplingParams(temperature=0, max_tokens=8), use_tqdm=False)
    return output.outputs[0].token_ids


@pytest.mark.parametrize("colour", [[0, 0, 0], [128, 128, 128], (10, 200, 30)])
def test_S26_another_background_for_one_request(any_face: Face, colour: Any) -> None:
    content = encoded(veiled("RGBA"), "PNG")
    seen = ask(
        any_face, [part(content)], media_io_kwargs={"image": {"rgba_background_color": colour}}
    )
    assert seen.token_ids == ask(any_face, [part(on(tuple(colour), content))]).token_ids
    assert seen.token_ids != ask(any_face, [part(content)]).token_ids


@pytest.mark.parametrize(
    "colour", [[0, 0], [0, 0, 256], [0, 0, -1], ["a", 0, 0], "black", [0, 0, 0.5], [True, 0, 0]]
)
def test_S26_what_is_no_colour(face: Face, colour: Any) -> None:
    refused = refusal(
        face,
        [part(encoded(picture(1), "PNG"))],
        media_io_kwargs={"image": {"rgba_background_color": colour}},
    )
    assert refused.status == 400
    assert (
        "rgba_background_color must be a list or tuple of 3 integers in the range [0, 255]."
        in refused.text
    )


def test_S26_the_operators_background(ruled_llm: LLM) -> None:
    layer = veiled("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", layer.size, (*GREY, 255)), layer).convert("RGB")
    assert told(ruled_llm, layer) == told(ruled_llm, flat)


def test_S36_embeddings_are_off_by_default(ruled_llm: LLM) -> None:
    """Here, since this engine leaves them off."""
    prompt = {
        "prompt": "<|vision_bos|><|IMAGE|><|vision_eos|>",
        "multi_modal_data": {"image": np.full((1, 4, 64), -0.5, "f4")},
    }
    with pytest.raises(ValueError, match="You must set --enable-mm-embeds to input image_embeds"):
        ruled_llm.generate(prompt, use_tqdm=False)


def test_S27_opaque_pictures_do_not_change(face: Face) -> None:
    content = [part(encoded(picture(9), "PNG"))]
    black = ask(face, content, media_io_kwargs={"image": {"rgba_background_color": [0, 0, 0]}})
    assert black.token_ids == ask(face, content).token_ids


# every format


def rotated_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    return encoded(picture(11, 90, 60), "JPEG", exif=exif.tobytes(), quality=95)


def sixteen_bits() -> bytes:
    return encoded(
        Image.fromarray(np.asarray(picture(12).convert("L")).astype(np.uint16) * 257), "PNG"
    )


FORMATS: dict[str, Any] = {
    "png": lambda: encoded(picture(10), "PNG"),
    "jpeg": lambda: encoded(picture(10), "JPEG"),
    "progressive": lambda: encoded(picture(10), "JPEG", progressive=True),
    "cmyk": lambda: encoded(picture(10).convert("CMYK"), "JPEG"),
    "rotated": rotated_jpeg,
    "webp": lambda: encoded(picture(10), "WEBP"),
    "gif": lambda: encoded(picture(10), "GIF"),
    "bmp": lambda: encoded(picture(10), "BMP"),
    "tiff": lambda: encoded(picture(10), "TIFF", compression="tiff_lzw"),
    "palette": lambda: encoded(picture(10).quantize(32), "PNG"),
    "grey": lambda: encoded(picture(10).convert("L"), "PNG"),
    "one_pixel": lambda: encoded(picture(10, 1, 1), "PNG"),
    "strip": lambda: encoded(picture(10, 1, 200), "PNG"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_S13_every_format_is_seen_as_pil_sees_it(any_face: Face, name: str) -> None:
    """By content: the media type of the URL lies."""
    content = FORMATS[name]()
    upright: Image.Image = Image.open(io.BytesIO(content))
    if name == "rotated":
        upright = upright.transpose(Image.Transpose.ROTATE_270)
    assert (
        ask(any_face, [part(content, "image/x-lie")]).token_ids
        == ask(any_face, [part(encoded(upright.convert("RGB"), "PNG"))]).token_ids
    )


def test_S13_sixteen_bits_lose_their_lower_half(face: Face) -> None:
    eight = encoded(picture(12).convert("L"), "PNG")
    assert ask(face, [part(sixteen_bits())]).token_ids == ask(face, [part(eight)]).token_ids


REFUSED: dict[str, Callable[[], bytes]] = {
    "jpeg2000": lambda: encoded(picture(1), "JPEG2000"),
    "eps": lambda: encoded(picture(1), "EPS"),
    "wmf": lambda: b"\xd7\xcd\xc6\x9a\x00\x00" + b"\x00" * 60,
    "playlist": lambda: b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/secret\n",
    "svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "wide": lambda: encoded(picture(1, 1, 201), "PNG"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_S13_what_is_never_decoded(any_face: Face, name: str) -> None:
    refused = refusal(any_face, [part(REFUSED[name]())])
    assert (refused.status, refused.part) == (422, "messages[0].content[0]")
