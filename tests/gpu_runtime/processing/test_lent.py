"""What stands in for packages that are not here, against what those packages gave: num2words
0.5.14, torchaudio 2.11."""

import hashlib

import pytest
import torch

from thespis.gpu_runtime.processing.lent import MelSpectrogram, number_words


def test_numbers_are_spelt_as_by_num2words() -> None:
    assert number_words(64) == "sixty-four"
    assert number_words(1105) == "one thousand, one hundred and five"
    words = "\n".join(number_words(number) for number in range(20000))
    assert hashlib.sha256(words.encode()).hexdigest()[:16] == "c6ff372a4250ce5c"


def test_the_mel_spectrum_is_that_of_torchaudio() -> None:
    sound = torch.sin(torch.arange(8000) ** 2 / 9000.0)[None]
    mel = MelSpectrogram(sample_rate=16000, n_fft=512, win_length=400, hop_length=160, n_mels=80)(
        sound
    )[0]
    assert mel.shape == (80, 51)
    recorded = [
        [622.4824, 0.0001, 0.0, 0.3906],
        [722.7217, 0.0001, 0.0, 0.4258],
        [0.0003, 7148.3706, 0.0, 0.8693],
    ]
    assert torch.allclose(mel[[0, 1, 20]][:, [0, 7, 25, 50]], torch.tensor(recorded), atol=1e-4)
    assert float(mel.sum()) == pytest.approx(963742.75, rel=1e-6)
