"""The forgiving base64 decode: what it takes, what it says of the rest, and that it never holds the
interpreter for long."""

import base64
import binascii
import string
from io import BytesIO
from unittest.mock import patch
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thespis.frontends.inputs import base64_text, media
from thespis.frontends.inputs.base64_text import Base64Error, SizeError, decode_into
from thespis.frontends.inputs.media import read_base64, read_encoded, read_url
from thespis.protocol.errors import Failure, RequestError
from thespis.protocol.requests.request import Modality

ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
WHITE = "\t\n\f\r "
PNG = b"\x89PNG\r\n\x1a\n and more"
TEXT = base64.b64encode(PNG).decode()
slices = st.sampled_from([1, 3, 4, 7, 1 << 16])


def decoded(
    text: str | bytes,
    size: int = 1 << 16,
    escaped: bool = False,
    start: int = 0,
    end: int | None = None,
) -> bytes:
    out = BytesIO()
    with patch.object(base64_text, "SLICE", size), patch.object(base64_text, "ESCAPED_SLICE", size):
        decode_into(out, text, 1 << 30, start, end, escaped)
    return out.getvalue()


def standard(text: str) -> bytes | None:
    """The steps of https://infra.spec.whatwg.org/#forgiving-base64-decode one by one; None:
    failure."""
    text = "".join(char for char in text if char not in WHITE)
    if len(text) % 4 == 0:
        text = text.removesuffix("==") if text.endswith("==") else text.removesuffix("=")
    if len(text) % 4 == 1 or any(char not in ALPHABET for char in text):
        return None
    bits = "".join(format(ALPHABET.index(char), "06b") for char in text)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8))


@given(
    text=st.text(st.sampled_from("AZaz09+/=" + WHITE), max_size=24) | st.text(max_size=12),
    size=slices,
)
def test_it_is_the_standards(text: str, size: int) -> None:
    expected = standard(text)
    if expected is None:
        with pytest.raises(Base64Error):
            decoded(text, size)
    else:
        assert decoded(text, size) == decoded(text.encode(), size) == expected


@given(
    data=st.binary(max_size=40),
    width=st.integers(1, 9),
    padded=st.booleans(),
    size=slices,
    escape=st.booleans(),
)
def test_what_encoders_write_comes_back(
    data: bytes, width: int, padded: bool, size: int, escape: bool
) -> None:
    text = base64.b64encode(data).decode()
    text = text if padded else text.rstrip("=")
    text = "\r\n".join(text[at : at + width] for at in range(0, len(text), width))
    assert decoded(quote(text, safe="") if escape else text, size, escape) == data
    assert decoded(f"xx{text}yy", size, start=2, end=2 + len(text)) == data


WRONG = {
    "ab!d": "'!' at position 2 is not of its alphabet",
    "\n\nabc-": "'-' at position 5 is of the URL-safe alphabet: write '+' for '-', and '/' for '_'",
    "ab_d": "'_' at position 2 is of the URL-safe alphabet: write '+' for '-', and '/' for '_'",
    "YQ==YQ==": "'=' at position 2 is not at its end",
    "YWJj\nZ=Zm": "'=' at position 6 is not at its end",
    "éabc": "U+00E9 at position 0 is not of its alphabet",
    "ab\U0001f600!": "U+1F600 at position 2 is not of its alphabet",
    "ab\x00c": "U+0000 at position 2 is not of its alphabet",
    "abcdé": "U+00E9 at position 4 is not of its alphabet",
    "a!b\u20ac": "'!' at position 1 is not of its alphabet",
    "abcde": "it ends with one character of a group of four: something is missing at its end",
    "YQ=": "it ends with 1 '=', where 2 or none belong",
    "YWI==": "it ends with 2 '=', where 1 or none belong",
    "YWJj====": "it ends with 4 '=', where 0 or none belong",
    "abcde===": "it ends with one character of a group of four: something is missing at its end",
}


@pytest.mark.parametrize("size", [4, 1 << 16])
@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_with_its_place(text: str, size: int) -> None:
    with pytest.raises(Base64Error) as raised:
        decoded(text, size)
    assert str(raised.value) == WRONG[text]


def test_the_size_is_looked_at_before_decoding() -> None:
    with patch("binascii.a2b_base64", None), pytest.raises(SizeError):
        decode_into(BytesIO(), "YWJjZGVm", 3)


@pytest.mark.parametrize("before", ["", "\n"], ids=["plain", "careful"])
def test_a_quarter_gigabyte_is_decoded_in_short_steps(before: str) -> None:
    """Each step is one slice: the work of all others in between is shown by a count of steps, not
    by a clock."""
    steps: list[int] = []
    careful, plain = binascii.a2b_base64, msgspec.convert

    def noted(digits: bytes) -> bytes:
        steps.append(len(digits))
        return careful(digits)

    def noted_too(digits: str, kind: type[bytes]) -> bytes:
        steps.append(len(digits))
        return plain(digits, kind)

    text = "QUJD" * (1 << 20)
    with patch("binascii.a2b_base64", noted), patch("msgspec.convert", noted_too):
        assert len(decoded(before + text)) == 3 << 20
    assert max(steps) <= base64_text.SLICE + 3
    assert sum(steps) >= len(text)


# in URLs and parts


def refused(text: str, modality: Modality = "image") -> Failure:
    with pytest.raises(RequestError) as raised:
        read_url(text, modality, "here")
    assert raised.value.failure.part == "here"
    return raised.value.failure


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/png;base64,{TEXT}",
        f"DATA:image/png;BASE64,{TEXT}",
        f"data:;base64,{TEXT}",
        f"data:image/png;charset=utf-8;base64,{TEXT}",
        f"data:image/png; base64 ,{TEXT}",
        f"data:image/png;name=a%2Cb.png;base64,{TEXT.rstrip('=')}",
        f"data:image/png;base64,{quote(TEXT, safe='')}",
        f"data:image/png;base64,{TEXT[:5]}%0D%0A{TEXT[5:]}",
        f" data:image/png;base64,\n {TEXT}\n",
    ],
)
def test_data_urls_as_people_write_them(url: str) -> None:
    assert read_url(url, "image", "here") == PNG


@pytest.mark.parametrize(
    ("text", "modality", "said"),
    [
        (TEXT, "image", "write data:image/png;base64,"),
        ("/9j/4AAQSkZJRgABAQAAAQ", "image", "write data:image/jpeg;base64,"),
        ("UklGRiQAAABXQVZFZm10IBA=", "image", "write data:image/webp;base64,"),
        ("UklGRiQAAABXQVZFZm10IBA=", "audio", "write data:audio/wav;base64,"),
        ("AAAAIGZ0eXBpc29tAAACAGlzb20", "video", "write data:video/mp4;base64,"),
        ("picture.png", "image", "must be an HTTP, data or file URL"),
        ("ftp://host/picture", "image", "must be an HTTP, data or file URL"),
        ("data:image/svg+xml,<svg/>", "image", "Only base64 data URLs"),
        ("data:image/png;base64", "image", "Only base64 data URLs"),
    ],
)
def test_what_is_no_url_is_told_what_to_write(text: str, modality: Modality, said: str) -> None:
    failure = refused(text, modality)
    assert said in failure.text
    assert failure.code == "invalid_url"


def test_the_frame_that_is_wrong_is_named() -> None:
    failure = refused("data:video/jpeg;base64,YQ==,YQ==,@@", "video")
    assert failure.text == "Frame 2 is not valid base64: '@' at position 0 is not of its alphabet."
    assert refused("data:video/jpeg;base64,YQ==,,YQ==", "video").text == "Frame 1 is empty."


def test_where_base64_is_wanted_a_data_url_will_do() -> None:
    assert (
        read_encoded(TEXT, "audio", "here")
        == read_encoded(f" data:audio/wav;base64,{TEXT}", "audio", "here")
        == PNG
    )
    for url in ("https://host/a.wav", "file:///a.wav"):
        with pytest.raises(RequestError, match="a URL is given in a part of type audio_url"):
            read_encoded(url, "audio", "here")
    with pytest.raises(RequestError, match=r"not valid base64: '!' at position 0"):
        read_encoded("data:audio/wav;base64,!", "audio", "here")


def test_too_large_and_empty() -> None:
    with patch.object(media, "MAX_ITEM_BYTES", 3), pytest.raises(RequestError) as raised:
        read_base64("YWJjZGVm", "here")
    assert raised.value.failure.code == "media_too_large"
    for nothing in ("", " \n", "data:image/png;base64,", "data:image/png;base64,%20"):
        with pytest.raises(RequestError, match="The data is empty"):
            read_encoded(nothing, "image", "here")
