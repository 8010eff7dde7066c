"""Sounds: from any container or from samples to one channel at the model's rate."""

import math

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from ....protocol.errors import refuse
from ....protocol.roles import MediaLimits
from .container import AUDIO_FORMATS, VIDEO_FORMATS, open_container, seconds_of

NOT_DECODABLE = "The sound cannot be decoded: it is no WAV, FLAC, OGG, Opus, MP3, AAC, M4A or WebM, or its data is damaged."

Wave = NDArray[np.float32]


def decode_audio(data: bytes, rate: int, limits: MediaLimits, of_clip: bool = False) -> Wave:
    """float32 [n] at `rate` samples per second. `of_clip`: the file is a clip, and one without sound gives no samples."""
    pieces: list[Wave] = []
    count = 0
    with open_container(data, AUDIO_FORMATS | VIDEO_FORMATS if of_clip else AUDIO_FORMATS, NOT_DECODABLE) as container:
        if not container.streams.audio and of_clip:
            return np.zeros(0, np.float32)
        if not container.streams.audio:
            raise refuse("unprocessable_media", "The file holds no sound.")
        stream = container.streams.audio[0]
        own_rate = int(stream.rate or 0) if stream.codec_context is not None else 0
        if own_rate < 1:
            raise refuse("unprocessable_media", NOT_DECODABLE)
        seconds = seconds_of(container, stream)
        if seconds is not None:
            check_length(seconds, seconds * own_rate, limits)
        # Planar float without a change of rate: only the sample format is converted here.
        planar = av.AudioResampler(format="fltp")
        for frame in container.decode(stream):
            for out in planar.resample(frame):
                mono = out.to_ndarray().mean(axis=0, dtype=np.float32)
                count += len(mono)
                check_length(count / own_rate, count, limits)
                pieces.append(mono)
    if not count and of_clip:
        return np.zeros(0, np.float32)
    if not count:
        raise refuse("unprocessable_media", "The file holds no sound.")
    return resample(np.concatenate(pieces), own_rate, rate)


def audio_of_samples(samples: Wave, own_rate: int | None, rate: int, limits: MediaLimits) -> Wave:
    """From float [n], [channels, n] or [n, channels]; `own_rate` None: they are at the model's rate."""
    if samples.ndim not in (1, 2) or not samples.size:
        raise refuse("invalid_request", f"A sound must be samples [n] or [channels, n], got shape {list(samples.shape)}.")
    if own_rate is not None and not 1000 <= own_rate <= 768_000:
        raise refuse("invalid_request", f"A sampling rate of {own_rate} Hz is not taken; give 1,000 to 768,000.")
    mono = samples if samples.ndim == 1 else samples.mean(axis=int(np.argmin(samples.shape)), dtype=np.float32)
    check_length(len(mono) / (own_rate or rate), len(mono), limits)
    if not np.isfinite(mono).all():
        raise refuse("invalid_request", "The samples hold values that are no finite numbers.")
    return resample(np.ascontiguousarray(mono, np.float32), own_rate or rate, rate)


def resample(wave: Wave, own_rate: int, rate: int) -> Wave:
    """As librosa does by default: soxr's high quality, then exactly ceil(n * rate / own_rate) samples."""
    if own_rate == rate:
        return wave
    length = math.ceil(len(wave) * rate / own_rate)
    made = soxr.resample(wave, own_rate, rate, quality="HQ")[:length]
    out = np.zeros(length, np.float32)
    out[: len(made)] = made
    return out


def check_length(seconds: float, samples: float, limits: MediaLimits) -> None:
    if seconds > limits.audio_seconds:
        raise refuse("too_large", f"The sound lasts {round(seconds, 1):g} s; at most {limits.audio_seconds:g} s are taken.")
    if samples * 4 > limits.audio_bytes:
        raise refuse("too_large", f"The sound takes {int(samples * 4)} bytes decoded; at most {limits.audio_bytes} are taken.")
