"""S34 and S35: sounds from arrays and from files."""

import io
import logging
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from thespis import LLM, SamplingParams
from thespis.frontends.inputs import python_media

from ..helpers.checkpoints import Checkpoints
from ..helpers.media import RATE, data_url, picture, png, sound, wav
from ..helpers.reference import Media, Reference, reference_for
from .containers import film, heard, track
from .faces import Face, ask, refusal

pytestmark = pytest.mark.process
PROMPT = (
    "<|im_start|>user\n<|audio_bos|><|AUDIO|><|audio_eos|>What?<|im_end|>\n<|im_start|>assistant\n"
)
SOUND = sound(21, 0.8)


@pytest.fixture(scope="module")
def reference(checkpoints: Checkpoints) -> Reference:
    return reference_for(checkpoints("qwen_omni"))


def expected(reference: Reference, samples: Any) -> list[int]:
    """What transformers says to these samples, as far as it is sure."""
    answer = reference.answer(PROMPT, Media(audio=(samples,)), 8)
    sure = next((place for place, gap in enumerate(answer.gaps) if gap < 1e-3), 8)
    assert sure >= 3, "the sound is near a tie at once; draw another"
    return answer.token_ids[:sure]


def generated(llm: LLM, audio: Any) -> list[int]:
    asked = {"prompt": PROMPT, "multi_modal_data": {"audio": audio}}
    (output,) = llm.generate(asked, SamplingParams(temperature=0, max_tokens=8), use_tqdm=False)
    return output.outputs[0].token_ids


def part(content: bytes, kind: str = "audio/x-lie") -> list[dict[str, Any]]:
    return [
        {"type": "audio_url", "audio_url": {"url": data_url(kind, content)}},
        {"type": "text", "text": "What?"},
    ]


STEREO = np.stack([SOUND, SOUND])
ARRAYS: dict[str, Any] = {
    "samples and rate": (SOUND, RATE),
    "doubles": (SOUND.astype(np.float64), RATE),
    "16-bit": ((SOUND * 32768).astype(np.int16), RATE),
    "channels first": (STEREO, RATE),
    "channels last": (STEREO.T, RATE),
    "a list of one": [(SOUND, RATE)],
    "samples alone": SOUND,
    "a list of numbers": SOUND.tolist(),
}


@pytest.mark.parametrize("form", ARRAYS)
def test_S34_arrays(llm: LLM, reference: Reference, form: str) -> None:
    wanted = expected(reference, SOUND)
    assert generated(llm, ARRAYS[form])[: len(wanted)] == wanted


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_S34_other_rates_are_resampled(llm: LLM, reference: Reference, rate: int) -> None:
    """By soxr's high quality, as librosa does."""
    given = soxr.resample(SOUND, RATE, rate)
    back = soxr.resample(given, rate, RATE, quality="HQ")
    wanted = expected(reference, back)
    assert generated(llm, (given, rate))[: len(wanted)] == wanted


def test_S34_a_sound_alone_says_so_in_the_log(llm: LLM, caplog: pytest.LogCaptureFixture) -> None:
    python_media._tell_of_rate.cache_clear()
    with caplog.at_level(logging.WARNING, logger="thespis"):
        generated(llm, (SOUND, RATE))
        assert "rate" not in caplog.text
        generated(llm, SOUND)
    assert "taken as being at the model's" in caplog.text


def test_S34_several_sounds(llm: LLM, reference: Reference) -> None:
    other = sound(22, 0.5)
    prompt = PROMPT.replace("What?", "<|audio_bos|><|AUDIO|><|audio_eos|>Which?")
    answer = reference.answer(prompt, Media(audio=(SOUND, other)), 6)
    assert answer.safe
    asked = {"prompt": prompt, "multi_modal_data": {"audio": [(SOUND, RATE), other]}}
    (output,) = llm.generate(asked, SamplingParams(temperature=0, max_tokens=6), use_tqdm=False)
    assert output.outputs[0].token_ids == answer.token_ids


@pytest.mark.parametrize(
    "given",
    [
        (SOUND, 10),
        (np.full(16000, np.nan), RATE),
        (np.zeros((2, 2, 2)), RATE),
        ("abc", RATE),
        (SOUND, None),
        (SOUND, "fast"),
    ],
)
def test_S34_what_is_no_sound(llm: LLM, given: Any) -> None:
    with pytest.raises(ValueError, match=r"multi_modal_data\['audio'\]"):
        generated(llm, [given])


def written(form: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, SOUND, RATE, format=form, subtype=subtype)
    return file.getvalue()


FILES: dict[str, Any] = {
    "wav": lambda: wav(SOUND),
    "wav24": lambda: written("WAV", "PCM_24"),
    "wavfloat": lambda: written("WAV", "FLOAT"),
    "wavulaw": lambda: written("WAV", "ULAW"),
    "flac": lambda: written("FLAC"),
    "vorbis": lambda: written("OGG", "VORBIS"),
    "opus": lambda: track("ogg", "libopus", SOUND),
    "mp3": lambda: track("mp3", "libmp3lame", SOUND),
    "mp3 without a tag": lambda: written("MP3"),
    "m4a": lambda: track("mp4", "aac", SOUND),
    "aac": lambda: track("adts", "aac", SOUND),
    "webm": lambda: track("webm", "libopus", SOUND),
    "mka": lambda: track("matroska", "flac", SOUND),
    "aiff": lambda: written("AIFF"),
    "au": lambda: written("AU"),
    "caf": lambda: written("CAF"),
    "stereo": lambda: track("wav", "pcm_s16le", SOUND, channels=2),
    "8 kHz": lambda: wav(sound(23, 0.4), 8000),
    "a clip's sound": lambda: film("mp4", 2, sound=SOUND, sound_codec="aac"),
}


@pytest.mark.parametrize("form", FILES)
def test_S35_every_file_by_its_content(any_face: Face, reference: Reference, form: str) -> None:
    content = FILES[form]()
    samples, rate = heard(content)
    wanted = expected(
        reference, samples if rate == RATE else soxr.resample(samples, rate, RATE, quality="HQ")
    )
    assert ask(any_face, part(content)).token_ids[: len(wanted)] == wanted


BROKEN: dict[str, Any] = {
    "a picture": lambda: png(picture(1)),
    "a silent clip": lambda: film("mp4", 2),
    "no samples": lambda: wav(np.zeros(0, np.float32)),
    "too short": lambda: wav(SOUND[:40]),
    "nothing known": lambda: b"nothing",
    "playlist": lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "cut m4a": lambda: track("mp4", "aac", SOUND)[:-500],
}


@pytest.mark.parametrize("name", BROKEN)
def test_S35_what_holds_no_sound(any_face: Face, name: str) -> None:
    refused = refusal(any_face, part(BROKEN[name]()))
    assert (refused.status, refused.part) == (422, "messages[0].content[0]")


def test_S35_a_sound_beyond_the_cap(face: Face) -> None:
    """Told from the header; 601 s at a rate that makes it a small file."""
    refused = refusal(face, part(wav(np.zeros(601 * 1000, np.float32), 1000)))
    assert refused.status == 413
    assert "at most 600 s are taken" in refused.text
