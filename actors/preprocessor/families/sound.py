"""Log-mel features for Whisper-like audio towers; runs in decode workers only (torch, transformers)."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import MediaFeatures

_KNOWN = ("feature_size", "sampling_rate", "hop_length", "chunk_length", "n_fft", "padding_value", "dither")


def mel_features(config: dict[str, Any], samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """([1, mel, T], T) of samples [n] at the model's rate.

    transformers pads every sound to `chunk_length` seconds and masks the padding out again. A frame sees half a window on
    each side, so padding by one window gives the same frames; a sound that ends within the last window of the chunk is
    padded to the chunk exactly, as there. Longer sounds are kept whole.
    """
    extractor = _extractor(tuple((name, config[name]) for name in _KNOWN if name in config))
    hop, window, chunk = extractor.hop_length, extractor.n_fft, extractor.n_samples
    count = -(-len(samples) // hop)
    padded = (-(-(len(samples) + window) // hop)) * hop
    if len(samples) <= chunk:
        padded = min(padded, chunk)
    wave = np.zeros(padded, np.float32)
    wave[: len(samples)] = samples
    made = extractor(wave, sampling_rate=extractor.sampling_rate, padding="do_not_pad", truncation=False, return_tensors="np")
    mel = np.asarray(made["input_features"], np.float32)[:, :, :count]
    return np.ascontiguousarray(mel), count


def two_conv_rows(frames: int) -> int:
    """Embedding rows that Omni's audio tower makes of `frames` mel frames."""
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1


def audio_features(config: dict[str, Any], samples: NDArray[np.float32]) -> MediaFeatures:
    """For `get_audio_features(input_features, feature_attention_mask)`. No padding is left, so the mask is all ones."""
    mel, frames = mel_features(config, samples)
    tensors: dict[str, NDArray[Any]] = {"input_features": mel, "feature_attention_mask": np.ones((1, frames), np.int64)}
    return MediaFeatures(tensors, max(0, two_conv_rows(frames)))


@lru_cache(maxsize=4)
def _extractor(config: tuple[tuple[str, Any], ...]) -> Any:
    from transformers import WhisperFeatureExtractor

    kind: Any = WhisperFeatureExtractor  # untyped in transformers
    return kind(**dict(config))
