"""What the tests draw is what a decoder sees."""

import io

import numpy as np
import soundfile
from PIL import Image

from .media import RATE, clip, clip_frames, picture, png, sound, wav


def test_a_picture_survives_its_container() -> None:
    drawn = picture(3, 70, 40)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(drawn)))), np.asarray(drawn))


def test_a_sound_survives_its_container() -> None:
    drawn = sound(5, 0.25)
    read, rate = soundfile.read(io.BytesIO(wav(drawn)), dtype="float32")
    assert rate == RATE
    assert np.array_equal(read, drawn)


def test_a_clip_has_the_frames_that_were_drawn() -> None:
    frames = clip_frames(clip(2, frames=6))
    assert frames.shape == (6, 56, 56, 3)
    drawn = np.stack([np.asarray(picture(2000 + index)) for index in range(6)]).astype(int)
    assert (
        np.abs(frames - drawn).mean() < 24
    )  # colours are subsampled; order and content must be right


def test_seeds_differ() -> None:
    assert png(picture(1)) != png(picture(2))
    assert clip(1) != clip(2)
    assert not np.array_equal(sound(1), sound(2))
