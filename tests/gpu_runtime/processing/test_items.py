"""One item by itself against the same item in a whole conversation, which transformers' own
processor takes at once."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from thespis.gpu_runtime.inspection import hf
from thespis.gpu_runtime.processing import Processor, load
from thespis.protocol.requests.request import Modality
from thespis.tests.zoo.catalog import NAMES, Zoo, animal

from .conversations import RATE, Oracle, check_conversation, clip, compose, media_of, sound, splice
from .families import FAMILIES, write

_hf: Any = transformers
SLOW = {
    "gemma3",
    "idefics3",
    "smolvlm",
    "granite_docling",
    "internvl",
    "aya_vision",
    "llava_next",
    "llava_onevision",
}
"""Of pictures as large as published: run by `scripts/dev processors`, with all the others at more
sizes."""
ONE_ONLY = {("molmo2", "video"), ("qwen3_asr", "audio"), ("qwen3_asr_thinker", "audio")}
"""What transformers takes one of in a prompt."""
APART = {
    "granite_docling": "a form that transformers' own class does not read",
    "voxtral": "its text is written by another library",
    "molmo2": "its processor writes around the prompt: tests/zoo/test_framed.py",
    "paligemma": "without a chat template, and written around, as Molmo2",
    "paligemma2": "as PaliGemma",
}
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in APART and not animal(name).own]
)
def test_an_item_of_a_published_form_is_what_it_is_in_a_conversation(name: str, zoo: Zoo) -> None:
    ours = load(zoo(name))
    oracle = Oracle(zoo(name)) if ours.placeholders() else None
    for modality in ours.placeholders():
        assert oracle is not None
        for media in pairwise(media_of(modality)):
            if not stacked(ours, modality, media):
                check_conversation(
                    ours, oracle, modality, media[:1] if (name, modality) in ONE_ONLY else media
                )


@pytest.mark.parametrize(("seconds", "pieces"), [(1, 1), (30, 1), (33, 2)])
def test_voxtrals_sounds_are_pieces_of_thirty_seconds(seconds: int, pieces: int, zoo: Zoo) -> None:
    """As mistral_common writes them: 375 rows a piece for an encoder of the published shape."""
    ours, samples = load(zoo("voxtral")), sound(seconds * RATE)
    item, encoder = ours.item("audio", samples, {}), hf.load_config(zoo("voxtral")).audio_config
    assert item.text == "[AUDIO]"
    assert item.counts == (pieces * 1500 * encoder.hidden_size // encoder.intermediate_size,)
    whole = np.zeros(pieces * 30 * RATE, np.float32)
    whole[: len(samples)] = samples
    mel = _hf.WhisperFeatureExtractor(feature_size=encoder.num_mel_bins)(
        whole, sampling_rate=RATE, truncation=False, padding="do_not_pad", return_tensors="np"
    )["input_features"][0]
    assert np.array_equal(
        item.parts[0].tensors["input_features"], np.stack(np.split(mel, pieces, axis=1))
    )


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - SLOW - set(NAMES)))
def test_an_item_of_a_family_is_what_it_is_in_a_conversation(name: str, tmp_path: Path) -> None:
    folder = write(name, tmp_path)
    ours, oracle = load(folder), Oracle(folder)
    assert ours.placeholders()
    for modality in ours.placeholders():
        media = media_of(modality)[:2]
        check_conversation(
            ours, oracle, modality, media[:1] if (name, modality) in ONE_ONLY else media
        )


@pytest.mark.parametrize("name", ["qwen2_5_omni", "qwen3_omni_moe"])
def test_a_sound_is_exactly_what_it_is_for_transformers_alone(name: str, zoo: Zoo) -> None:
    ours, oracle = load(zoo(name)), Oracle(zoo(name))
    for one in media_of("audio"):
        (part,) = ours.item("audio", one, {}).parts
        whole = oracle.whole("audio", oracle.prompt("audio", 1), [one]).features
        frames = int(whole["feature_attention_mask"].sum())
        assert part.tensors["feature_attention_mask"].tolist() == [[1] * frames]
        assert np.array_equal(
            part.tensors["input_features"], whole["input_features"][..., :frames].numpy()
        )


@pytest.mark.parametrize("name", ["qwen2_5_omni", "qwen3_omni_moe"])
def test_a_clip_with_its_sound_is_what_it_is_in_a_conversation(name: str, zoo: Zoo) -> None:
    ours, oracle = load(zoo(name)), Oracle(zoo(name))
    assert ours.hears_clips
    clips, sounds = [clip(8, 60, 56), clip(12, 64, 97)], [sound(70000), sound(41234)]
    prompt = oracle.prompt("video")
    whole = oracle.heard(prompt, clips, sounds)
    items = [
        ours.item("video", one, {"fps": 1.0}, sound=heard)
        for one, heard in zip(clips, sounds, strict=True)
    ]
    ids, runs = splice(prompt, ours.placeholders()["video"], items, oracle.tokenizer)
    assert ids == whole.token_ids
    assert whole.positions is not None
    assert np.array_equal(compose(len(ids), runs, items, len(whole.positions)), whole.positions)
    for item in items:
        assert [part.kind for part in item.parts] == ["video", "audio"]
        assert [sorted(part.tensors) for part in item.parts] == [
            ["pixel_values_videos", "video_grid_thw"],
            ["feature_attention_mask", "input_features"],
        ]
        assert [part.rows for part in item.parts] == [
            sum(
                count
                for count, kind in zip(item.counts, kinds(item.text, ours), strict=True)
                if kind == part.kind
            )
            for part in item.parts
        ]
    seen = np.concatenate([item.parts[0].tensors["pixel_values_videos"] for item in items])
    assert np.array_equal(seen, whole.features["pixel_values_videos"].numpy())


def kinds(text: str, ours: Processor) -> list[str]:
    """Of the stretches in an item's text, in order."""
    tokens = {ours.placeholders()[kind].embed_token: kind for kind in ("video", "audio")}
    return [tokens[found] for found in re.findall("|".join(map(re.escape, tokens)), text)]


def stacked(ours: Processor, modality: Modality, media: tuple[Any, ...]) -> bool:
    """transformers stacks the clips of some families: they must be equally long."""
    if modality != "video" or len({len(one.frames) for one in media}) == 1:
        return False
    return "video_grid_thw" not in ours.item("video", media[0], {}).parts[0].tensors
