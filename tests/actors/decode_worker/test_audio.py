"""Sounds from every container, at every rate, and what is refused."""

import io
import wave
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from thespis.actors.decode_worker.audio import audio_of_samples, decode_audio, resample
from thespis.actors.decode_worker.sniff import sniff
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.errors import RequestError

from ...helpers.media import RATE, sound, wav
from ...helpers.uncompiled import uncompiled_librosa

LIMITS = MediaLimits()


def record(form: str, codec: str, samples: np.ndarray[Any, Any], rate: int = RATE) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            (samples * 32767).astype(np.int16)[None], format="s16", layout="mono"
        )
        frame.sample_rate = rate
        resampler = av.AudioResampler(
            format=stream.codec_context.format,
            layout="mono",
            rate=rate,
            frame_size=stream.frame_size,
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return file.getvalue()


def likeness(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Correlation at the best shift: lossy codecs begin with some silence of their own."""
    return float(np.correlate(a, b, "full").max() / np.sqrt((a * a).sum() * (b * b).sum()))


def tone(seconds: float = 0.6, rate: int = RATE) -> np.ndarray[Any, Any]:
    time = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (300 + 200 * time) * time)).astype(np.float32)


def test_S35_wav_is_exact() -> None:
    samples = sound(1, 0.3)
    assert np.array_equal(decode_audio(wav(samples), RATE, LIMITS), samples)


@pytest.mark.parametrize(
    ("form", "codec", "rate"),
    [
        ("flac", "flac", RATE),
        ("ogg", "libopus", 48000),
        ("webm", "libopus", 48000),
        ("mp3", "libmp3lame", 44100),
        ("mp4", "aac", 44100),
        ("adts", "aac", 44100),
        ("ogg", "vorbis", 44100),
    ],
)
def test_S35_containers(form: str, codec: str, rate: int) -> None:
    if codec == "vorbis":  # FFmpeg's own encoder speaks stereo only
        file = io.BytesIO()
        write: Any = soundfile.write
        write(file, tone(rate=rate), rate, format="OGG", subtype="VORBIS")
        data = file.getvalue()
    else:
        data = record(form, codec, tone(rate=rate), rate)
    made = decode_audio(data, RATE, LIMITS)
    assert abs(len(made) - 0.6 * RATE) < 0.1 * RATE
    assert likeness(tone(), made) > 0.98


def test_S34_either_axis_may_be_the_channels() -> None:
    left, right = sound(1, 0.1), sound(2, 0.1)
    both = np.stack([left, right])
    expected = both.mean(axis=0, dtype=np.float32)
    assert np.array_equal(audio_of_samples(both, RATE, RATE, LIMITS), expected)
    assert np.allclose(audio_of_samples(both.T, RATE, RATE, LIMITS), expected, atol=1e-7)


def test_S34_resampling_is_librosas() -> None:
    samples = sound(3, 0.37)[:5001]
    made = resample(samples, 44100, RATE)
    assert len(made) == int(np.ceil(5001 * RATE / 44100))
    with uncompiled_librosa() as librosa:
        assert np.array_equal(made, librosa.resample(samples, orig_sr=44100, target_sr=RATE))


def test_samples_without_a_rate_are_at_the_models() -> None:
    assert np.array_equal(audio_of_samples(sound(1, 0.1), None, RATE, LIMITS), sound(1, 0.1))


def test_S8_a_sound_that_lasts_too_long() -> None:
    limits = MediaLimits(audio_seconds=0.2)
    with pytest.raises(RequestError, match=r"lasts 0.5 s; at most 0.2 s are taken") as error:
        decode_audio(wav(sound(1, 0.5)), RATE, limits)
    assert error.value.failure.kind == "too_large"
    with pytest.raises(RequestError, match=r"lasts 0.5 s; at most 0.2 s are taken"):
        audio_of_samples(sound(1, 0.5), None, RATE, limits)


def test_a_sound_of_no_known_kind() -> None:
    data = bytearray(wav(sound(1, 0.5)))
    data[20:22] = b"\xee\xee"  # the codec's number
    with pytest.raises(RequestError, match="The sound cannot be decoded"):
        decode_audio(bytes(data), RATE, LIMITS)


def test_S8_a_header_that_lies_about_the_length() -> None:
    data = bytearray(wav(sound(1, 0.5)))
    data[40:44] = (100).to_bytes(4, "little")  # the data chunk's length
    limits = MediaLimits(audio_bytes=10_000)
    assert decode_audio(bytes(data), RATE, limits).nbytes <= 10_000


@pytest.mark.parametrize(
    "data", [b"", b"no sound", wav(np.zeros(0, np.float32)), b"RIFF\x00\x00\x00\x00WAVEfmt "]
)
def test_what_is_no_sound(data: bytes) -> None:
    with pytest.raises(RequestError) as refused:
        decode_audio(data, RATE, LIMITS)
    assert refused.value.failure.kind == "unprocessable_media"


@pytest.mark.parametrize(
    "samples",
    [np.full(100, np.nan, np.float32), np.zeros(0, np.float32), np.zeros((2, 2, 2), np.float32)],
)
def test_samples_that_are_none(samples: Any) -> None:
    with pytest.raises(RequestError) as refused:
        audio_of_samples(samples, RATE, RATE, LIMITS)
    assert refused.value.failure.kind == "invalid_request"


def test_content_decides_not_the_name() -> None:
    assert sniff(wav(sound(1, 0.1))) == "wav"
    assert sniff(b"#EXTM3U") is None
    assert sniff(b"ffconcat version 1.0") is None


def test_stereo_files_are_mixed() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(np.array([[1000, 3000]] * 200, "<i2").tobytes())
    assert np.allclose(decode_audio(file.getvalue(), RATE, LIMITS), 2000 / 32768)
