"""Clips as cutters, phones and broadcasters write them: the frames that a player shows, evenly
spaced over them."""

import io
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import thespis
from thespis.actors.decode_worker import video
from thespis.actors.decode_worker.container import cut_off, open_container
from thespis.actors.decode_worker.sampling import Sampling, choose, rate_of
from thespis.actors.decode_worker.sniff import sniff
from thespis.actors.decode_worker.video import decode_video
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.errors import RequestError

LIMITS = MediaLimits()
ALL = Sampling(None, None, None, 300)
FIVE = Sampling(5, None, None, 300)
SIDE = 32


def marked(index: int) -> "np.ndarray[Any, Any]":
    """A picture that says which it is: a bit in each of eight blocks."""
    blocks = np.array([255 * (index >> bit & 1) for bit in range(8)], np.uint8).reshape(2, 4)
    return np.repeat(blocks.repeat(SIDE // 2, 0).repeat(SIDE // 4, 1)[..., None], 3, -1)


def index_of(frame: Any) -> int:
    blocks = frame.reshape(2, SIDE // 2, 4, SIDE // 4, 3).mean((1, 3, 4)).ravel()
    return sum(1 << bit for bit in range(8) if blocks[bit] > 127)


def indices(data: bytes, sampling: Sampling = ALL) -> list[int]:
    return [index_of(frame) for frame in decode_video(data, LIMITS, sampling).frames]


@cache
def film(
    form: str = "mp4",
    codec: str = "libx264",
    times: Any = range(40),
    gop: int = 12,
    bframes: int = 2,
    **options: str,
) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=form, options=options) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 2_000_000
        stream.codec_context.gop_size = gop
        if codec in ("libx264", "mpeg4", "mpeg1video", "mpeg2video"):
            stream.codec_context.max_b_frames = bframes
        for index, time in enumerate(times):
            frame: Any = av.VideoFrame.from_ndarray(marked(index), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def patched(data: bytes, kind: bytes, skip: int, packed: bytes) -> bytes:
    at = data.index(kind) + 4 + skip
    return data[:at] + packed + data[at + len(packed) :]


def edited(data: bytes, start: float, seconds: float) -> bytes:
    """The clip with an edit list that shows a part of it alone, as a cut without encoding writes
    it."""
    media_scale = int.from_bytes(data[data.index(b"mdhd") + 16 :][:4], "big")
    movie_scale = int.from_bytes(data[data.index(b"mvhd") + 16 :][:4], "big")
    media_start = int.from_bytes(data[data.index(b"elst") + 16 :][:4], "big")
    return patched(
        data,
        b"elst",
        8,
        struct.pack(">II", int(seconds * movie_scale), media_start + int(start * media_scale)),
    )


def moov_first(data: bytes) -> bytes:
    """As a server wants it: the index before the media."""
    at = data.index(b"moov") - 4
    moov, rest = bytearray(data[at:]), data[:at]
    table = moov.index(b"stco") + 8
    for entry in range(int.from_bytes(moov[table : table + 4], "big")):
        place = slice(table + 4 + 4 * entry, table + 8 + 4 * entry)
        moov[place] = (int.from_bytes(moov[place], "big") + len(moov)).to_bytes(4, "big")
    start = data.index(b"free") - 4
    return rest[:start] + bytes(moov) + rest[start:]


def shown_in_full(data: bytes) -> list[int]:
    """What FFmpeg decodes and shows, all of it."""
    with av.open(io.BytesIO(data), "r") as container:
        return [index_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("start", "seconds"),
    [(0.0, 1.6), (0.52, 0.6), (0.4, 2.0), (0.04, 0.04), (1.2, 0.4), (0.5, 0.33)],
)
@pytest.mark.parametrize("bframes", [0, 2])
def test_C1_an_edit_list(start: float, seconds: float, bframes: int) -> None:
    data = edited(film(bframes=bframes), start, seconds)
    shown = shown_in_full(data)
    assert shown == list(range(shown[0], shown[-1] + 1))
    assert abs(shown[0] - start * 25) <= 1
    assert indices(data) == shown
    assert indices(data, FIVE) == [shown[at] for at in choose(len(shown), 25.0, FIVE)]


@given(st.floats(0, 1.4), st.floats(0.05, 2), st.integers(1, 9), st.integers(0, 2))
@settings(max_examples=15, deadline=None)
def test_C1_whatever_is_cut_out(start: float, seconds: float, count: int, bframes: int) -> None:
    data = edited(film(bframes=bframes), start, seconds)
    shown = shown_in_full(data)
    if shown:
        sampling = Sampling(count, None, None, 300)
        assert indices(data, sampling) == [shown[at] for at in choose(len(shown), 25.0, sampling)]


FILMS = [
    ("mp4", "libx264"), ("mov", "libx264"), ("matroska", "libx264"), ("webm", "libvpx-vp9"),
    ("webm", "libvpx"),
    ("avi", "mpeg4"), ("avi", "mjpeg"), ("gif", "gif"), ("mpegts", "libx264"),
    ("mpegts", "mpeg2video"), ("flv", "flv"),
    ("flv", "libx264"), ("mpeg", "mpeg1video"), ("vob", "mpeg2video"), ("asf", "wmv2"),
    ("mpeg1video", "mpeg1video"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "codec"), FILMS)
def test_C5_containers(form: str, codec: str) -> None:
    data = film(form, codec)
    assert sniff(data) is not None
    shown = shown_in_full(data)
    assert shown == list(range(40))
    assert indices(data) == shown
    assert indices(data, FIVE) == [0, 9, 19, 29, 39]


def test_C1_fragments_and_their_absent_counts() -> None:
    data = film(movflags="frag_keyframe+empty_moov")
    assert indices(data) == list(range(40))
    without_last = data[: data.rindex(b"moof") - 4]
    shown = shown_in_full(without_last)
    assert 12 <= len(shown) < 40
    assert indices(without_last, FIVE) == [shown[at] for at in choose(len(shown), 25.0, FIVE)]


def test_C1_a_broadcast_that_begins_in_the_middle() -> None:
    whole = film("mpegts")
    data = whole[188 * 8 :]
    shown = indices(data)
    assert 0 < shown[0] < 30
    assert shown == list(range(shown[0], 40))


def test_C1_a_varying_rate_is_sampled_in_time() -> None:
    times = (*range(20), *range(20, 220, 10))
    assert (
        indices(film(times=times), FIVE)
        == [choose(40, None, FIVE, times)[at] for at in range(5)]
        == [0, 23, 28, 33, 39]
    )


@pytest.mark.parametrize("frames", [1, 2_000, 0])
def test_C1_a_header_that_lies_about_its_frames(frames: int) -> None:
    data = film("avi", "mpeg4", bframes=0)
    lying = patched(data, b"avih", 4 + 16, struct.pack("<I", frames))
    assert indices(patched(lying, b"strh", 4 + 32, struct.pack("<I", frames)), FIVE) == [
        0,
        9,
        19,
        29,
        39,
    ]


def test_C1_a_header_that_lies_about_its_length() -> None:
    data = film()
    scale = int.from_bytes(data[data.index(b"mdhd") + 16 :][:4], "big")
    lying = patched(data, b"mdhd", 16, struct.pack(">I", scale * 100_000))
    assert indices(lying, FIVE) == [0, 9, 19, 29, 39]


def test_C1_the_rate_is_the_headers_where_that_is_near() -> None:
    assert rate_of([0, 33, 67, 100], Fraction(1, 1000), 30.0) == 30.0
    assert rate_of([0, 33, 67, 100], Fraction(1, 1000), 90.0) == pytest.approx(30.0)
    assert rate_of([0, 40], Fraction(1, 1000), None) == 25.0
    assert rate_of([7], Fraction(1, 1000), 30.0) == 30.0


TURNS = {
    (1, 0, 0, 1): lambda p: p,
    (-1, 0, 0, 1): lambda p: p[:, ::-1],
    (1, 0, 0, -1): lambda p: p[::-1],
    (-1, 0, 0, -1): lambda p: p[::-1, ::-1],
    (0, 1, 1, 0): lambda p: p.swapaxes(0, 1),
    (0, 1, -1, 0): lambda p: np.rot90(p, -1),
    (0, -1, 1, 0): lambda p: np.rot90(p),
    (0, -1, -1, 0): lambda p: np.rot90(p, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize("turn", TURNS)
def test_C1_a_clip_is_turned_and_mirrored_as_its_file_says(turn: tuple[int, int, int, int]) -> None:
    data = film(times=range(3))
    a, b, c, d = (value << 16 for value in turn)
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    plain = decode_video(data, LIMITS, ALL).frames
    shown = decode_video(patched(data, b"tkhd", 40, matrix), LIMITS, ALL).frames
    assert np.array_equal(shown, np.stack([TURNS[turn](frame) for frame in plain]))


# what follows a file, and what is missing of it

TRAILERS = [
    b"SEFT\0\0\1\2a camera's own", b"\xff" * 3000, bytes(100), b"\0\0\0",
    b"\x7f\xff\xff\xffuuid" + bytes(8),
    b"\0\0\0\x10free" + bytes(8) + b"xx", b"\0\0\0\1wide\0\0\0\0\xff\xff\xff\xff",
    b"\0\0\0\x07abcd",
]  # fmt: skip


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("order", [bytes, moov_first])
def test_C4_what_follows_an_mp4_is_not_needed(trailer: bytes, order: Any) -> None:
    assert indices(order(film()) + trailer, FIVE) == [0, 9, 19, 29, 39]


@given(st.binary(max_size=200))
@settings(max_examples=30, deadline=None)
def test_C4_whatever_follows(trailer: bytes) -> None:
    assert not cut_off(film() + trailer) or trailer[4:8] in (b"moov", b"mdat", b"moof")


def test_C4_a_last_box_without_an_end() -> None:
    data = moov_first(film())
    at = data.index(b"mdat") - 4
    assert indices(data[:at] + bytes(4) + data[at + 4 :], FIVE) == [0, 9, 19, 29, 39]


@pytest.mark.parametrize("form", ["plain", "moov first", "fragments"])
@pytest.mark.parametrize("missing", [1, 200, 900])
def test_C4_a_truncated_file_is_still_refused(form: str, missing: int) -> None:
    data = film(movflags="frag_keyframe+empty_moov") if form == "fragments" else film()
    if form == "fragments":
        data = data[: data.rindex(b"mfra") - 4]
    elif form == "moov first":
        data = moov_first(data)
    with pytest.raises(RequestError) as refused:
        decode_video(data[:-missing], LIMITS, ALL)
    assert refused.value.status == 422


def test_C4_a_file_without_an_end_that_is_truncated() -> None:
    data = moov_first(film())
    at = data.index(b"mdat") - 4
    with pytest.raises(RequestError, match="damaged"):
        decode_video((data[:at] + bytes(4) + data[at + 4 :])[:-900], LIMITS, ALL)


# animated pictures


def animated(form: str, durations: list[int] | int = 100, **options: Any) -> bytes:
    pictures = [Image.fromarray(marked(index)) for index in range(8)]
    file = io.BytesIO()
    pictures[0].save(
        file, form, save_all=True, append_images=pictures[1:], duration=durations, **options
    )
    return file.getvalue()


@pytest.mark.parametrize(
    ("form", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("PNG", {"default_image": True})],
)
def test_C5_an_animated_picture_is_a_clip(form: str, options: dict[str, Any]) -> None:
    data = animated(form, **options)
    first = 1 if options.get("default_image") else 0
    assert indices(data) == list(range(first, 8))
    assert indices(data, Sampling(3, None, None, 300)) == [first, 3 + first, 7]
    assert indices(data, Sampling(None, 5, None, 300))[-1] == 7


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_C5_its_frames_are_spaced_in_time(form: str) -> None:
    data = animated(
        form,
        [1000, 100, 100, 100, 100, 100, 100, 100],
        **({"lossless": True} if form == "WEBP" else {}),
    )
    assert indices(data, Sampling(4, None, None, 300)) == [0, 0, 1, 7]


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_C5_a_still_picture_is_no_clip(form: str) -> None:
    file = io.BytesIO()
    Image.fromarray(marked(1)).save(file, form)
    with pytest.raises(RequestError, match="send it as an image"):
        decode_video(file.getvalue(), LIMITS, ALL)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_C5_a_damaged_animation(form: str) -> None:
    data = animated(form)
    statuses = {_status(data[:end]) for end in range(60, len(data) - 20, max(1, len(data) // 9))}
    assert 422 in statuses
    assert statuses <= {200, 422}  # a PNG that ends with a whole frame is one with fewer


def _status(data: bytes) -> int:
    try:
        decode_video(data, LIMITS, ALL)
    except RequestError as refused:
        return refused.status
    return 200


def test_C5_every_format_of_the_page_is_decoded() -> None:
    page = (Path(thespis.__file__).parent / "docs" / "video.md").read_text()
    listed = re.search(r"<!-- formats -->(.*?)<!-- end -->", page, re.DOTALL)
    assert listed is not None
    names = set(re.findall(r"\*\*(.+?)\*\*", listed[1]))
    made = {
        "MP4": film(), "MOV": film("mov"), "3GP": film("3gp"), "WebM": film("webm", "libvpx-vp9"),
        "Matroska": film("matroska"),
        "AVI": film("avi", "mpeg4"), "GIF": film("gif", "gif"), "TS": film("mpegts"),
        "MPG": film("mpeg", "mpeg1video"),
        "FLV": film("flv", "flv"), "WMV": film("asf", "wmv2"), "APNG": animated("PNG"),
        "animated WebP": animated("WEBP"),
    }  # fmt: skip
    assert names == set(made) | {"OGV"}  # nothing installed here writes Theora
    for name, data in made.items():
        assert len(decode_video(data, LIMITS, Sampling(3, None, None, 300)).frames) == 3, name


# what a header promises


def test_A3_a_clip_that_is_too_much_work_is_refused_from_its_headers() -> None:
    limits = MediaLimits(video_pixels=39 * SIDE * SIDE)
    with pytest.raises(RequestError, match=r"frames of 32x32 pixels, more work") as refused:
        decode_video(film(), limits, FIVE)
    assert (refused.value.status, refused.value.failure.code) == (413, "media_cost")
    assert len(decode_video(film(times=range(39)), limits, FIVE).frames) == 5
    for form in ("PNG", "WEBP"):
        with pytest.raises(RequestError, match=r"64 frames"):
            decode_video(animated(form), MediaLimits(video_pixels=8 * 8 * SIDE * SIDE - 1), FIVE)


def test_nothing_is_asked_of_a_file_that_has_been_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg's memory may hold anything by then."""
    rate, open_files = video._rate, list[object]()

    @contextmanager
    def noted(*given: Any) -> Iterator[Any]:
        with open_container(*given) as container:
            open_files.append(container)
            try:
                yield container
            finally:
                open_files.remove(container)

    def asked(*given: Any) -> float | None:
        assert open_files
        return rate(*given)

    monkeypatch.setattr(video, "open_container", noted)
    monkeypatch.setattr(video, "_rate", asked)
    assert indices(film(), FIVE) == [0, 9, 19, 29, 39]
