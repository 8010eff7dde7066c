"""One item by itself against the same item in a whole conversation, which transformers' own processor takes at once."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thespis.gpu_runtime.processing import Processor, load
from thespis.protocol.request import Modality
from thespis.tests.zoo import NAMES, Zoo

from .conversations import Oracle, check_conversation, media_of
from .families import FAMILIES, write

MODALITIES: tuple[Modality, ...] = ("image", "video", "audio")
SLOW = {"gemma3", "idefics3", "smolvlm", "granite_docling", "internvl", "aya_vision", "llava_next", "llava_onevision"}
"""Of pictures as large as published: run by `scripts/check_processors`, with all the others at more sizes."""
ONE_ONLY = {("molmo2", "video"), ("qwen3_asr", "audio")}
"""What transformers takes one of in a prompt."""
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

_loaded: dict[Path, tuple[Processor, Oracle]] = {}


def both(folder: Path) -> tuple[Processor, Oracle]:
    if folder not in _loaded:
        _loaded[folder] = load(folder), Oracle(folder)
    return _loaded[folder]


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("name", NAMES)
def test_an_item_of_a_published_form_is_what_it_is_in_a_conversation(name: str, modality: Modality, zoo: Zoo) -> None:
    ours, oracle = both(zoo(name))
    if modality in ours.placeholders():
        for media in pairwise(media_of(modality)):
            if not stacked(ours, modality, media):
                check_conversation(ours, oracle, modality, media)


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - SLOW))
def test_an_item_of_a_family_is_what_it_is_in_a_conversation(name: str, tmp_path: Path) -> None:
    folder = write(name, tmp_path)
    ours, oracle = load(folder), Oracle(folder)
    assert ours.placeholders()
    for modality in ours.placeholders():
        media = media_of(modality)[:2]
        check_conversation(ours, oracle, modality, media[:1] if (name, modality) in ONE_ONLY else media)


@pytest.mark.parametrize("name", ["qwen2_5_omni", "qwen3_omni_moe"])
def test_a_sound_is_exactly_what_it_is_for_transformers_alone(name: str, zoo: Zoo) -> None:
    ours, oracle = both(zoo(name))
    for one in media_of("audio"):
        (part,) = ours.item("audio", one, {}).parts
        whole = oracle.whole("audio", oracle.prompt("audio", 1), [one]).features
        frames = int(whole["feature_attention_mask"].sum())
        assert part.tensors["feature_attention_mask"].tolist() == [[1] * frames]
        assert np.array_equal(part.tensors["input_features"], whole["input_features"][..., :frames].numpy())


def stacked(ours: Processor, modality: Modality, media: tuple[Any, ...]) -> bool:
    """transformers stacks the clips of some families: they must be equally long."""
    if modality != "video" or len({len(one.frames) for one in media}) == 1:
        return False
    return "video_grid_thw" not in ours.item("video", media[0], {}).parts[0].tensors
