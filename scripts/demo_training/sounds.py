"""Synthesises rows of beeps at 16 kHz."""

import io
import wave

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]  # [samples] in -1..1

RATE = 16_000  # samples a second


def draw_beeps(
    rng: np.random.Generator, count: int, rising: bool, samples: int
) -> tuple[Wave, list[tuple[int, int]]]:
    """A sound of exactly `samples` with `count` beeps; also where each beep starts and ends."""
    seconds = samples / RATE
    room = seconds - 0.08
    beep = float(rng.uniform(0.08, min(0.22, room * 0.58 / count)))
    gaps = max(1, count - 1)
    gap = float(rng.uniform(0.06, min(0.24, (room - beep * count) / gaps)))
    start = 0.03 + float(rng.uniform(0, max(0.0, room - beep * count - gap * (count - 1))))
    ratio = float(rng.uniform(1.18, 1.5))
    lowest = float(rng.uniform(220, 700))
    order = range(count) if rising else range(count - 1, -1, -1)
    sound = np.zeros(samples, np.float32)
    spans: list[tuple[int, int]] = []
    overtones = rng.uniform(0, 0.4, 2) * (rng.random() < 0.6)
    for index, step in enumerate(order):
        begin = int((start + index * (beep + gap)) * RATE)
        tone = _tone(lowest * ratio**step, int(beep * RATE), overtones)
        end = min(samples, begin + len(tone))
        sound[begin:end] += tone[: end - begin]
        spans.append((begin, end))
    sound *= float(rng.uniform(0.08, 0.9)) / max(1e-6, float(np.abs(sound).max()))
    hiss = float(rng.uniform(0.0, 0.012)) * float(np.abs(sound).max())
    sound += rng.standard_normal(samples, dtype=np.float32) * hiss
    return quantise(sound), spans


def _tone(hertz: float, samples: int, overtones: NDArray[np.float64]) -> Wave:
    time = np.arange(samples) / RATE
    tone = np.sin(2 * np.pi * hertz * time)
    for harmonic, amplitude in enumerate(overtones, start=2):
        tone += amplitude * np.sin(2 * np.pi * hertz * harmonic * time)
    edge = min(samples // 4, int(0.012 * RATE))
    envelope = np.ones(samples)
    envelope[:edge] = np.linspace(0, 1, edge)
    envelope[-edge:] = np.linspace(1, 0, edge)
    result: Wave = (tone * envelope).astype(np.float32)
    return result


def quantise(sound: Wave) -> Wave:
    """To 16 bits and back, as a wav file would."""
    result: Wave = (np.round(np.clip(sound, -1, 1) * 32767) / 32768).astype(np.float32)
    return result


def wav_bytes(sound: Wave) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.round(sound * 32768).astype("<i2").tobytes())
    return buffer.getvalue()
