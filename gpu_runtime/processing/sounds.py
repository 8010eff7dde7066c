"""Sounds without the silence that transformers pads them with, where a model looks at nothing of
it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import BatchFeature, WhisperFeatureExtractor


class Unpadded(WhisperFeatureExtractor):
    """The same frames as its base's, and no others.

    A frame sees half a window on each side, so padding by one window gives the same frames as
    padding to the extractor's whole chunk (300 seconds, of some checkpoints); a sound that ends
    within the last window of the chunk is padded to the chunk exactly, as there. Longer sounds are
    kept whole.
    """

    def __call__(self, raw_speech: Any, *_: Any, **__: Any) -> BatchFeature:
        """{"input_features": [1, mel, T], "attention_mask": [1, T] of ones} of the only sound in
        the list, at the extractor's rate."""
        samples: NDArray[np.float32]
        (samples,) = raw_speech
        count = -(-len(samples) // self.hop_length)
        padded = -(-(len(samples) + self.n_fft) // self.hop_length) * self.hop_length
        if len(samples) <= self.n_samples:
            padded = min(padded, self.n_samples)
        wave = np.zeros(padded, np.float32)
        wave[: len(samples)] = samples
        asked: Any = {"padding": "do_not_pad", "truncation": False, "return_tensors": "pt"}
        made = super().__call__(wave, sampling_rate=self.sampling_rate, **asked)
        mel = made["input_features"][:, :, :count]
        mask = mel.new_ones((1, mel.shape[2])).long()
        return BatchFeature({"input_features": mel, "attention_mask": mask})


def unpadded(extractor: Any) -> Any:
    """`extractor` itself, which pads no more; another kind of extractor stays as it is."""
    if type(extractor) is WhisperFeatureExtractor:
        extractor.__class__ = Unpadded
    return extractor
