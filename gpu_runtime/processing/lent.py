"""Two small things that processors of transformers ask of packages which this engine does not have.

A number in English words (of `num2words`), which SmolVLM writes before a clip's frames; and the mel
spectrum (of `torchaudio`) that Granite's sounds are. Both by their packages' definitions, and with
the same results.
"""

import math
from types import SimpleNamespace

import torch
from torch import Tensor

_SMALL = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def number_words(number: int) -> str:
    """Of 0..999999, as `num2words` spells it: 1105 is "one thousand, one hundred and five"."""
    if number < 20:
        return _SMALL[number]
    if number < 100:
        tens, rest = divmod(number, 10)
        return _TENS[tens] + (f"-{_SMALL[rest]}" if rest else "")
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        return f"{_SMALL[hundreds]} hundred" + (f" and {number_words(rest)}" if rest else "")
    thousands, rest = divmod(number, 1000)
    words = f"{number_words(thousands)} thousand"
    return words + (f"{', ' if rest >= 100 else ' and '}{number_words(rest)}" if rest else "")


class MelSpectrogram:
    """Power on the mel scale (HTK's, triangles of height 1) of windows by Hann, each centred on its
    frame."""

    def __init__(
        self, sample_rate: int, n_fft: int, win_length: int, hop_length: int, n_mels: int
    ) -> None:
        self._n_fft, self._hop_length, self._win_length = n_fft, hop_length, win_length
        self._window = torch.hann_window(win_length)
        self._filters = _filters(n_fft // 2 + 1, n_mels, sample_rate)  # [frequencies, mels]

    def to(self, device: object) -> "MelSpectrogram":
        """Itself: sounds are made into features on the CPU."""
        return self

    def __call__(self, samples: Tensor) -> Tensor:
        """[batch, mels, frames] of [batch, samples]."""
        sizes = self._n_fft, self._hop_length, self._win_length
        waves = torch.stft(samples, *sizes, self._window, center=True, return_complex=True)
        return torch.matmul(waves.abs().pow(2.0).transpose(-1, -2), self._filters).transpose(-1, -2)


def _filters(frequencies: int, mels: int, rate: int) -> Tensor:
    at = torch.linspace(0, rate // 2, frequencies)
    highest = 2595.0 * math.log10(1.0 + (rate // 2) / 700.0)
    points = 700.0 * (10.0 ** (torch.linspace(0.0, highest, mels + 2) / 2595.0) - 1.0)
    widths = points[1:] - points[:-1]
    slopes = points.unsqueeze(0) - at.unsqueeze(1)  # [frequencies, mels + 2]
    down, up = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    return torch.clamp(torch.minimum(down, up), min=0.0)


AUDIO = SimpleNamespace(transforms=SimpleNamespace(MelSpectrogram=MelSpectrogram))
"""In the place of `torchaudio`."""
