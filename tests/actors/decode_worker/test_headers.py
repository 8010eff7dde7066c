"""What headers tell of an item is what decoding it gives, and reading them decodes nothing."""

import io
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
import soundfile

from thespis.actors.decode_worker.audio import decode_audio
from thespis.actors.decode_worker.clip_headers import look_video
from thespis.actors.decode_worker.image import decode_image
from thespis.actors.decode_worker.picture_headers import look_image
from thespis.actors.decode_worker.sampling import Sampling
from thespis.actors.decode_worker.sound_headers import look_audio
from thespis.actors.decode_worker.video import decode_video
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.errors import RequestError

from ...helpers.media import clip, picture, png
from ...helpers.random_media import (
    CLIPS,
    PICTURES,
    SOUNDS,
    random_clip,
    random_picture,
    random_sound,
)

LIMITS = MediaLimits()
RATE = 16_000
SAMPLINGS = (
    Sampling(7, None, None, 600),
    Sampling(None, 2.0, None, 600, default=32),
    Sampling(None, None, 8, 600, default=32),
    Sampling(1, None, None, 600),
)
UNKNOWN = "cost_unknown"


def outcome(about: Callable[[Any], Any], read: Callable[..., Any], *given: Any) -> Any:
    """What is told of the result, or the code of the refusal."""
    try:
        return about(read(*given))
    except RequestError as refused:
        return refused.failure.code or refused.failure.kind


def of_picture(made: Any) -> Any:
    return made.size, made.mode


def of_clip(made: Any) -> Any:
    return made.frames.shape, made.indices, made.total_num_frames, round(made.fps or 0, 6)


@pytest.mark.parametrize("form", PICTURES)
def test_a_picture_is_as_large_as_its_header_says_when_it_is_upright(form: str) -> None:
    draw = Random(form)
    for _ in range(12):
        data = random_picture(draw, form).data
        told = outcome(of_picture, look_image, data, LIMITS)
        true = outcome(of_picture, decode_image, data, LIMITS)
        assert told == true
        cut = data[: draw.randrange(len(data))]
        told = outcome(of_picture, look_image, cut, LIMITS)
        assert told == outcome(of_picture, decode_image, cut, LIMITS)


@pytest.mark.parametrize(("codec", "container", "options"), CLIPS)
def test_a_clips_headers_tell_the_frames_that_will_be_looked_at(
    codec: str, container: str, options: dict[str, str]
) -> None:
    draw = Random(codec + container)
    for sampling in SAMPLINGS:
        data = random_clip(draw, codec, container, options).data
        told = outcome(of_clip, look_video, data, LIMITS, sampling)
        assert told == outcome(of_clip, decode_video, data, LIMITS, sampling)
        cut = data[: draw.randrange(len(data))]
        told = outcome(of_clip, look_video, cut, LIMITS, sampling)
        assert told in (UNKNOWN, outcome(of_clip, decode_video, cut, LIMITS, sampling))


@pytest.mark.parametrize(("codec", "container", "rate"), SOUNDS)
def test_a_sounds_packets_tell_how_many_samples_it_has(
    codec: str, container: str, rate: int
) -> None:
    draw = Random(codec + container)
    for _ in range(4):
        data = random_sound(draw, codec, container, rate).data
        assert outcome(len, look_audio, data, RATE, LIMITS) == outcome(
            len, decode_audio, data, RATE, LIMITS
        )


@pytest.mark.parametrize("codec", ["adpcm_ima_wav", "adpcm_ms"])
def test_a_codec_whose_packets_do_not_say_it_is_refused_by_name(codec: str) -> None:
    data = random_sound(Random(0), codec, "wav", RATE).data
    assert outcome(len, look_audio, data, RATE, LIMITS) == UNKNOWN
    assert outcome(len, decode_audio, data, RATE, LIMITS) != UNKNOWN


def test_an_ogg_of_one_page_has_the_samples_that_its_decoder_gives() -> None:
    """Its first packet stands at zero there, and gives nothing all the same."""
    told = 0
    for samples in range(8000, 48000, 4000):
        file = io.BytesIO()
        soundfile.write(file, np.zeros(samples), RATE, format="OGG")
        cost = outcome(len, look_audio, file.getvalue(), RATE, LIMITS)
        if cost != UNKNOWN:
            told += 1
            assert cost == len(decode_audio(file.getvalue(), RATE, LIMITS))
    assert told >= 5


def test_fields_are_no_frames() -> None:
    options = {"x264-params": "interlaced=1:tff=1"}
    data = random_clip(Random(1), "libx264", "matroska", options).data
    assert outcome(of_clip, look_video, data, LIMITS, SAMPLINGS[0]) == UNKNOWN


def test_nothing_is_decoded() -> None:
    """Pixels that are noise, of which no decoder makes anything."""
    whole = png(picture(1, 90, 40))
    start = whole.index(b"IDAT")
    size = int.from_bytes(whole[start - 4 : start], "big")
    body = b"IDAT" + bytes(size)
    spoilt = whole[:start] + body + struct.pack(">I", zlib.crc32(body)) + whole[start + size + 8 :]
    assert outcome(of_picture, decode_image, spoilt, LIMITS) == "unprocessable_media"
    assert look_image(spoilt, LIMITS).size == (90, 40)
    film = clip(1, 9)
    start, end = film.index(b"mdat") + 4, film.index(b"moov") - 4
    start += (end - start) // 2  # of its beginning FFmpeg itself asks what kind of film it is
    spoilt = film[:start] + bytes(end - start) + film[end:]
    sampling = SAMPLINGS[0]
    failed = outcome(of_clip, decode_video, spoilt, LIMITS, sampling)
    assert failed == "unprocessable_media"
    assert of_clip(look_video(spoilt, LIMITS, sampling)) == of_clip(
        decode_video(film, LIMITS, sampling)
    )


def test_a_bomb_is_refused_as_decoding_refuses_it_and_takes_no_memory() -> None:
    data = bytearray(png(picture(1)))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    for read in (look_image, decode_image):
        assert outcome(of_picture, read, bytes(data), LIMITS) == "too_large"
    long = look_audio(random_sound(Random(2), "flac", "flac", 44_100, 60.0).data, RATE, LIMITS)
    assert long.strides == (0,)
    film = look_video(clip(3, 30), LIMITS, Sampling(30, None, None, 600))
    assert film.frames.strides == (0, 0, 0, 0)
    assert np.shares_memory(film.frames[0], film.frames[-1])
