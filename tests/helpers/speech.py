"""Long sounds with pauses, in the containers that callers send."""

import io
from functools import cache
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

SECONDS, PAUSES = 25.0, (3.5, 8.5, 12.0, 16.5, 21.0)
CONTAINERS = {
    "wav": ("wav", "pcm_s16le", 44_100), "flac": ("flac", "flac", 44_100),
    "mp3": ("mp3", "libmp3lame", 44_100), "ogg": ("OGG", "VORBIS", 44_100),
    "opus": ("ogg", "libopus", 48_000), "m4a": ("ipod", "aac", 44_100),
    "webm": ("webm", "libopus", 48_000), "aac": ("adts", "aac", 22_050),
}  # fmt: skip


def speech(rate: int, seconds: float = SECONDS) -> NDArray[np.float32]:
    """A tone like a voice, which rests at PAUSES."""
    time = np.arange(int(rate * seconds)) / rate
    wave = 0.4 * np.sin(2 * np.pi * (200 + 30 * np.sin(time)) * time)
    for pause in PAUSES:
        wave[(time > pause - 0.2) & (time < pause + 0.2)] *= 0.001
    return wave.astype(np.float32)


@cache
def recorded(name: str, seconds: float = SECONDS) -> bytes:
    """By FFmpeg, of two channels; OGG, which it does not write here, by libsndfile."""
    form, codec, rate = CONTAINERS[name]
    file = io.BytesIO()
    if form == "OGG":
        soundfile.write(file, speech(rate, seconds), rate, format=form, subtype=codec)
        return file.getvalue()
    with av.open(file, "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=rate, layout="stereo")
        samples = (np.stack([speech(rate, seconds)] * 2, axis=1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = rate
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, "stereo", rate, frame_size=stream.frame_size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return file.getvalue()
