"""Sounds: from any container or from samples to one channel at the model's rate."""

import math
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from ...protocol.config.roles import MediaLimits
from ...protocol.errors import RequestError, invalid, too_large, undecodable
from .animation import is_animation
from .container import open_container, seconds_of
from .second_reader import read_sound
from .sniff import AUDIO_FORMATS, VIDEO_FORMATS, behind_junk, is_chained, sniff

NOT_DECODABLE = (
    "The sound cannot be decoded: it is no WAV, FLAC, OGG, Opus, MP3, AAC, M4A, WebM, AIFF, AU, "
    "CAF, W64, WMA, AC3 or AMR, or its data is damaged."
)
CHAINED = (
    "The file is a chain of sounds of different rates or channels; send each as a sound of its own."
)
NO_SOUND = "The file holds no sound."
FREE_CHANNELS = 8
FEW = 2
"""Packets of a sound that may be no sound, beside one in a hundred."""

Wave = NDArray[np.float32]
NOTHING: Wave = np.zeros(0, np.float32)


def decode_audio(data: bytes, rate: int, limits: MediaLimits, of_clip: bool = False) -> Wave:
    """float32 [n] at `rate` samples per second. `of_clip`: the file is a clip, and one without
    sound gives no samples.

    What FFmpeg cannot read is tried with libsndfile. Raises RequestError.
    """
    if of_clip and is_animation(data):
        return NOTHING
    try:
        mono, own_rate = _by_ffmpeg(data, limits, of_clip)
    except RequestError as refused:
        if of_clip or refused.failure.kind != "unprocessable_media":
            raise
        if is_chained(data):  # libsndfile would read the first and drop the rest in silence
            raise undecodable(CHAINED) from None
        if (read := read_sound(data, limits)) is None:
            raise
        mono, own_rate = read
    if not np.isfinite(mono).all():
        raise undecodable("The sound holds values that are no finite numbers.")
    return resample(mono, own_rate, rate) if len(mono) else NOTHING


def _by_ffmpeg(data: bytes, limits: MediaLimits, of_clip: bool) -> tuple[Wave, int]:
    """One channel, and its rate. Without sound: nothing of a clip, else RequestError."""
    if sniff(data) is None:
        data = data[behind_junk(data) :]
    allowed = AUDIO_FORMATS | VIDEO_FORMATS if of_clip else AUDIO_FORMATS
    pieces: list[Wave] = []
    with open_container(data, allowed, NOT_DECODABLE) as container:
        if not container.streams.audio:
            if of_clip:
                return NOTHING, 1
            raise undecodable(NO_SOUND)
        stream = container.streams.audio[0]
        own_rate = int(stream.rate or 0) if stream.codec_context is not None else 0
        if own_rate < 1:
            raise undecodable(NOT_DECODABLE)
        seconds = seconds_of(container, stream)
        if seconds is not None:
            check_length(seconds, seconds * own_rate, limits, stream.channels)
        count = 0
        mixer = Mixer(own_rate)
        for _, frame in frames_of(container, stream):
            for mono in mixer.mix(frame):
                count += len(mono)
                check_length(count / own_rate, count, limits, stream.channels)
                pieces.append(mono)
    if not count and not of_clip:
        raise undecodable(NO_SOUND)
    return np.concatenate(pieces) if pieces else NOTHING, own_rate


class Mixer:
    """Makes one channel of many. Only the sample format is converted here: packed, for PyAV reads
    past the end of eight planes and knows no more. The rate stays, except in a broadcast that
    changes it, as it may its channels."""

    def __init__(self, own_rate: int) -> None:
        self._own_rate = own_rate
        self._convert: Any = None
        self._before: Any = None

    def mix(self, frame: Any) -> Iterator[Wave]:
        kind = frame.layout.name, frame.format.name, frame.sample_rate
        if self._convert is None or kind != self._before:
            rate = None if frame.sample_rate == self._own_rate else self._own_rate
            self._convert, self._before = av.AudioResampler("flt", rate=rate), kind
        for out in self._convert.resample(frame):
            samples = out.to_ndarray().reshape(-1, frame.layout.nb_channels)
            with np.errstate(all="ignore"):
                yield samples.mean(axis=1, dtype=np.float32)


def frames_of(container: Any, stream: Any, begin: int = 0) -> Iterator[tuple[int, Any]]:
    """Decoded frames, each with the number of its packet, from packet `begin` on. As players do, it
    passes over a few packets that are no sound: tags and the ends of a cut."""
    good, bad = begin, 0  # whoever begins there has passed all before
    for number, packet in enumerate(container.demux(stream)):
        if number < begin:
            continue
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            bad += 1
            if bad > FEW + good // 100:
                raise
            continue
        good += 1
        for frame in frames:
            yield number, frame


def audio_of_samples(samples: Wave, own_rate: int | None, rate: int, limits: MediaLimits) -> Wave:
    """From float [n], [channels, n] or [n, channels]; `own_rate` None: they are at the model's
    rate."""
    if samples.ndim not in (1, 2) or not samples.size:
        raise invalid(
            f"A sound must be samples [n] or [channels, n], got shape {list(samples.shape)}."
        )
    if own_rate is not None and not 1000 <= own_rate <= 768_000:
        raise invalid(f"A sampling rate of {own_rate} Hz is not taken; give 1,000 to 768,000.")
    mono = samples
    if samples.ndim == 2:
        mono = samples.mean(axis=int(np.argmin(samples.shape)), dtype=np.float32)
    check_length(len(mono) / (own_rate or rate), len(mono), limits)
    if not np.isfinite(mono).all():
        raise invalid("The samples hold values that are no finite numbers.")
    return resample(np.ascontiguousarray(mono, np.float32), own_rate or rate, rate)


def resample(wave: Wave, own_rate: int, rate: int) -> Wave:
    """As librosa does by default: soxr's high quality, then exactly ceil(n * rate / own_rate)
    samples."""
    if own_rate == rate:
        return wave
    length = resampled_length(len(wave), own_rate, rate)
    made = soxr.resample(wave, own_rate, rate, quality="HQ")[:length]
    return np.pad(made, (0, length - len(made)))


def resampled_length(samples: int, own_rate: int, rate: int) -> int:
    return samples if own_rate == rate else math.ceil(samples * rate / own_rate)


def check_length(seconds: float, samples: float, limits: MediaLimits, channels: int = 1) -> None:
    """`samples` of one channel, for they are mixed to one; beyond eight, channels count as work."""
    if seconds > limits.audio_seconds:
        raise too_large(
            f"The sound lasts {round(seconds, 1):g} s; at most {limits.audio_seconds:g} s are "
            f"taken."
        )
    if samples * 4 * max(1, channels / FREE_CHANNELS) > limits.audio_bytes:
        less = f", and less of {channels} channels" if channels > FREE_CHANNELS else ""
        raise too_large(
            f"The sound takes {int(samples * 4)} bytes decoded; at most {limits.audio_bytes} are "
            f"taken{less}."
        )
