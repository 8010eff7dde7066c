"""Sound files as recorders, streams and old programs write them, by FFmpeg or by libsndfile."""

import io
import re
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import thespis
from thespis.actors.decode_worker import audio as audio_module
from thespis.actors.decode_worker.audio import decode_audio
from thespis.actors.decode_worker.second_reader import read_sound
from thespis.actors.decode_worker.sniff import sniff
from thespis.protocol.config.roles import MediaLimits
from thespis.protocol.errors import RequestError

from ...helpers.media import RATE
from ...helpers.uncompiled import uncompiled_librosa

LIMITS = MediaLimits()
TIME = np.arange(RATE) / RATE
TONE = (0.5 * np.sin(2 * np.pi * (300 + 200 * TIME) * TIME)).astype(np.float32)


@cache
def record(form: str, codec: str, rate: int = RATE) -> bytes:
    """The tone in a file that FFmpeg writes."""
    file = io.BytesIO()
    samples = np.interp(np.arange(rate) / rate, TIME, TONE)
    with av.open(file, "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=rate, layout="mono")
        if codec == "wmav2":
            stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(
            (samples * 32767).astype(np.int16)[None], format="s16", layout="mono"
        )
        frame.sample_rate = rate
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, "mono", rate, frame_size=stream.frame_size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return file.getvalue()


@cache
def written(
    form: str, subtype: str | None = None, endian: str | None = None, channels: int = 1
) -> bytes:
    """The tone in a file that libsndfile writes."""
    file = io.BytesIO()
    write: Any = soundfile.write
    write(
        file,
        np.repeat(TONE[:, None], channels, 1),
        RATE,
        format=form,
        subtype=subtype,
        endian=endian,
    )
    return file.getvalue()


def likeness(data: bytes) -> float:
    """Correlation with the tone at the best shift."""
    made = decode_audio(data, RATE, LIMITS)
    size = 1 << (len(made) + len(TONE)).bit_length()
    shifted = np.fft.irfft(np.fft.rfft(made, size) * np.conj(np.fft.rfft(TONE, size)), size)
    return float(shifted.max() / np.sqrt((made * made).sum() * (TONE * TONE).sum()))


def id3(size: int) -> bytes:
    return b"ID3\3\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(size)


MP3 = record("mp3", "libmp3lame")
WAV = written("WAV", "PCM_16")
DATA = WAV.index(b"data")


@pytest.mark.parametrize(
    "data",
    [
        bytes(2000) + MP3,
        bytes(100_000) + MP3,
        np.random.default_rng(0).bytes(3000) + MP3,
        MP3[100:],
        MP3[:-77],
        id3(3 << 20) + MP3,
        id3(500) + id3(700) + MP3,
        id3(100)[:60] + MP3,
        b"APETAGEX" + struct.pack("<IIII", 2000, 40, 1, 0xA0000000) + bytes(2000) + MP3,
        MP3 + b"TAG" + bytes(125),
        MP3 + b"APETAGEX" + bytes(300),
        id3(300) + record("flac", "flac"),
        id3(300) + record("adts", "aac"),
    ],
    ids=range(13),
)
def test_C3_what_stands_around_a_sound(data: bytes) -> None:
    assert likeness(data) > 0.9


@given(st.integers(0, 70_000), st.binary(max_size=3000))
@settings(max_examples=15, deadline=None)
def test_C3_zeros_or_junk_before_an_mp3(zeros: int, junk: bytes) -> None:
    assert likeness(bytes(zeros) + MP3) > 0.9
    assert junk[:3] == b"ID3" or sniff(junk + MP3) is not None or likeness(junk + MP3) > 0.9


@pytest.mark.parametrize(
    "data",
    [
        WAV[:4] + b"\xff" * 4 + WAV[8 : DATA + 4] + b"\xff" * 4 + WAV[DATA + 8 :],
        WAV[:4] + bytes(4) + WAV[8 : DATA + 4] + bytes(4) + WAV[DATA + 8 :],
        WAV[: DATA + 4] + struct.pack("<I", 10**9) + WAV[DATA + 8 :],
        WAV[:12] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + WAV[12:],
        WAV[:12] + b"junk" + struct.pack("<I", 5000) + bytes(5000) + WAV[12:],
        WAV[:-1001],
        WAV + b"id3 " + bytes(99),
        written("RF64", "PCM_24"),
        written("WAV", "PCM_16", "BIG"),
        *(
            written("WAV", kind)
            for kind in ("PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
        ),
        *(written("WAV", kind) for kind in ("IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32")),
        written("WAVEX", "PCM_16", None, 3),
    ],
    ids=range(21),
)
def test_C3_wav_of_every_kind(data: bytes) -> None:
    assert likeness(data) > 0.9


def test_C3_chained_streams_are_one_sound() -> None:
    ogg = written("OGG", "VORBIS")
    assert abs(len(decode_audio(ogg + ogg, RATE, LIMITS)) / RATE - 2) < 0.1


def test_C3_a_chain_that_cannot_be_one_sound_is_refused_not_cut() -> None:
    with pytest.raises(RequestError, match="send each as a sound of its own"):
        decode_audio(written("OGG", "VORBIS") + written("OGG", "VORBIS", None, 2), RATE, LIMITS)


@pytest.mark.parametrize(("form", "subtype"),
    [("VOC", "PCM_16"), ("NIST", "PCM_16"), ("IRCAM", "PCM_16"), ("AVR", "PCM_16"),
                                               ("PAF", "PCM_16"), ("MAT5", "FLOAT"),
                                               ("SVX", "PCM_16")])  # fmt: skip
def test_C3_what_ffmpeg_does_not_read_is_read_as_librosa_does(
    form: str, subtype: str, tmp_path: Path
) -> None:
    for channels in (1,) if form == "SVX" else (1, 2):
        data = written(form, subtype, None, channels)
        assert sniff(data) is None
        (tmp_path / "sound").write_bytes(data)
        with uncompiled_librosa() as librosa:
            blocks = librosa.stream(
                tmp_path / "sound",
                block_length=1,
                frame_length=RATE,
                hop_length=RATE,
                dtype=np.float32,
            )
            theirs = np.concatenate(list(blocks))
        ours = read_sound(data, LIMITS)
        assert ours is not None
        assert ours[1] == RATE
        assert ours[0].dtype == theirs.dtype == np.float32
        assert np.array_equal(ours[0], theirs)
    assert likeness(data) > 0.99


def test_C3_a_sound_that_ffmpeg_cannot_read_costs_no_import_of_librosa() -> None:
    """It takes seconds, and a minute where it has never been imported: a worker that gives way has
    no time for it."""
    code = (
        "import sys; from thespis.actors.decode_worker.second_reader import read_sound\n"
        "from thespis.protocol.config.roles import MediaLimits\n"
        "found = read_sound(sys.stdin.buffer.read(), MediaLimits())\n"
        "print(found is not None and len(found[0]), [name for name in ('librosa', 'numba', "
        "'scipy') if name in sys.modules])"
    )
    for data, count in ((written("VOC", "PCM_16"), len(TONE)), (cut_flac(), False)):
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], input=data, capture_output=True, check=True
        )
        assert done.stdout.decode().strip() == f"{count} []"


def cut_flac() -> bytes:
    """libsndfile knows the file by its head, and finds nothing that it could decode."""
    return record("flac", "flac")[:600]


def test_C3_the_second_reader_knows_the_limits() -> None:
    data = written("VOC", "PCM_16")
    for limits in (MediaLimits(audio_seconds=0.5), MediaLimits(audio_bytes=1000)):
        with pytest.raises(RequestError, match="longer than") as refused:
            decode_audio(data, RATE, limits)
        assert refused.value.status == 413


def test_C3_a_sound_that_is_too_long_is_not_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_module, "read_sound", None)
    with pytest.raises(RequestError, match="lasts 1 s"):
        decode_audio(MP3, RATE, MediaLimits(audio_seconds=0.5))


@pytest.mark.parametrize(
    "data", [b"", bytes(5000), b"hello world" * 100, b"RIFF\0\0\0\0WAVE", id3(50), b"\xff\xfb" * 9]
)
def test_C3_what_neither_reads(data: bytes) -> None:
    assert read_sound(data, LIMITS) is None
    with pytest.raises(RequestError) as refused:
        decode_audio(data, RATE, LIMITS)
    assert refused.value.status == 422


@given(
    st.binary(max_size=400),
    st.sampled_from(
        [b"", b"RIFF", b"FORM", b".snd", b"Creative Voice File\x1a", b"NIST_1A\n", b"caff"]
    ),
)
@settings(max_examples=60, deadline=None)
def test_C3_random_bytes_are_a_sound_or_a_refusal(data: bytes, start: bytes) -> None:
    kind = "none"
    try:
        assert decode_audio(start + data, RATE, LIMITS).dtype == np.float32
    except RequestError as refused:
        kind = refused.failure.kind
    assert kind in ("none", "unprocessable_media", "too_large")


MADE = {
    "WAV": ("wav", "pcm_s16le", RATE), "W64": ("w64", "pcm_s16le", RATE),
    "FLAC": ("flac", "flac", RATE),
    "Opus": ("ogg", "libopus", 48000), "MP3": ("mp3", "libmp3lame", RATE),
    "AAC": ("adts", "aac", RATE),
    "M4A": ("ipod", "aac", RATE), "WMA": ("asf", "wmav2", 44100), "AC3": ("ac3", "ac3", 48000),
    "AIFF": ("aiff", "pcm_s16be", RATE), "AU": ("au", "pcm_s16be", RATE),
    "CAF": ("caf", "pcm_s16le", RATE),
    "MP4": ("mp4", "aac", RATE), "MOV": ("mov", "pcm_s16le", RATE),
    "WebM": ("webm", "libopus", 48000),
    "Matroska": ("matroska", "libmp3lame", RATE), "AVI": ("avi", "libmp3lame", 44100),
    "TS": ("mpegts", "aac", 48000),
    "MPG": ("mpeg", "mp2", 44100), "FLV": ("flv", "aac", 44100), "E-AC3": ("eac3", "eac3", 48000),
    "AMR": ("amr", "amr_nb", 8000),
}  # fmt: skip
WRITTEN = {
    "RF64": "PCM_16",
    "Vorbis": "VORBIS",
    "OGG": "VORBIS",
    "VOC": "PCM_16",
    "NIST": "PCM_16",
    "IRCAM": "PCM_16",
}


@pytest.mark.parametrize("name", MADE)
def test_C5_formats_of_ffmpeg(name: str) -> None:
    assert likeness(record(*MADE[name])) > 0.9


def test_C5_every_format_of_the_page_is_decoded() -> None:
    page = (Path(thespis.__file__).parent / "docs" / "audio.md").read_text()
    listed = re.search(r"<!-- formats -->(.*?)Zeros,", page, re.DOTALL)
    assert listed is not None
    names = set(re.findall(r"\*\*(.+?)\*\*", listed[1]))
    assert names == (set(MADE) | set(WRITTEN)) - {"E-AC3"}
    for name, subtype in WRITTEN.items():
        assert likeness(written({"Vorbis": "OGG"}.get(name, name), subtype)) > 0.95, name


@pytest.mark.parametrize(
    ("form", "channels"),
    [
        ("WAV", 2),
        ("WAV", 6),
        ("WAV", 7),
        ("WAV", 8),
        ("WAV", 9),
        ("WAV", 16),
        ("FLAC", 5),
        ("FLAC", 8),
        ("AIFF", 8),
        ("W64", 8),
    ],
)
def test_C3_all_channels_are_mixed(form: str, channels: int) -> None:
    file = io.BytesIO()
    each = np.arange(1, channels + 1) / 32
    write: Any = soundfile.write
    write(file, np.tile(each, (1000, 1)), RATE, format=form, subtype="PCM_16")
    np.testing.assert_allclose(
        decode_audio(file.getvalue(), RATE, LIMITS), np.full(1000, each.mean()), atol=1e-6
    )


def test_A3_many_channels_count_as_work() -> None:
    data = written("WAV", "PCM_16", None, 16)
    assert len(
        decode_audio(data, RATE, MediaLimits(audio_bytes=8 * RATE))
    )  # 4 bytes a sample, twice the free channels
    with pytest.raises(RequestError, match="16 channels"):
        decode_audio(data, RATE, MediaLimits(audio_bytes=8 * RATE - 1))
