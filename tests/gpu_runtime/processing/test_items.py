"""One item by itself against the same item in a whole conversation, which transformers' own processor takes at once."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from thespis.gpu_runtime.processing import ProcessedItem, Processor, load
from thespis.protocol.request import Modality
from thespis.tests.zoo.catalog import NAMES, Zoo

from .conversations import Oracle, Whole, compose, media_of, splice

MODALITIES: tuple[Modality, ...] = ("image", "video", "audio")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

_loaded: dict[Path, tuple[Processor, Oracle]] = {}


def both(folder: Path) -> tuple[Processor, Oracle]:
    if folder not in _loaded:
        _loaded[folder] = load(folder), Oracle(folder)
    return _loaded[folder]


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("name", NAMES)
def test_an_item_alone_is_what_it_is_in_a_conversation(name: str, modality: Modality, zoo: Zoo) -> None:
    ours, oracle = both(zoo(name))
    if modality not in ours.placeholders():
        assert getattr(oracle.processor, f"{modality}_token", None) is None or modality == "video"
        return
    placeholder = ours.placeholders()[modality]
    prompt = oracle.prompt(modality)
    assert prompt.count(placeholder.text) == 2
    for media in pairwise(media_of(modality)):
        if modality == "video" and len({len(one.frames) for one in media}) > 1 and "video_grid_thw" not in tensors(ours, media):
            continue  # transformers stacks the clips of such families: they must be equally long
        whole = oracle.whole(modality, prompt, media)
        items = [ours.item(modality, one, {}, siblings=True) for one in media]
        ids, runs = splice(prompt, placeholder.token, items, oracle.tokenizer)
        assert ids == whole.token_ids
        check_features(items, whole)
        if whole.positions is not None:
            assert np.array_equal(compose(len(ids), runs, items, len(whole.positions)), whole.positions)
        else:
            assert all(item.planes is None for item in items)


@pytest.mark.parametrize("name", NAMES)
def test_a_sound_is_exactly_what_it_is_for_transformers_alone(name: str, zoo: Zoo) -> None:
    ours, oracle = both(zoo(name))
    for one in media_of("audio") if "audio" in ours.placeholders() else ():
        (part,) = ours.item("audio", one, {}).parts
        whole = oracle.whole("audio", oracle.prompt("audio", 1), [one])
        for key, alone in part.tensors.items():
            assert np.array_equal(corner(whole.features[key].numpy(), alone), alone)
        assert int(whole.features["feature_attention_mask"].sum()) == part.tensors["feature_attention_mask"].sum()


def tensors(ours: Processor, media: tuple[Any, ...]) -> set[str]:
    return set(ours.item("video", media[0], {}).parts[0].tensors)


def check_features(items: list[ProcessedItem], whole: Whole) -> None:
    """What a batch holds of each item, less the padding to its longest, is what the item has."""
    for name in items[0].parts[0].tensors:
        together = whole.features[name].numpy()
        at = 0
        for item in items:
            (part,) = item.parts
            assert part.rows == sum(item.counts)
            alone = part.tensors[name]
            if name == "batch_num_images":
                assert alone.tolist() == together.tolist()
                continue
            shared = corner(together[at : at + len(alone)], alone)
            if name == "input_features":  # where sounds are padded to the longest, the last frame of a shorter one sees it
                shared, alone = shared[..., :-1], alone[..., :-1]
            assert np.array_equal(shared, alone), name
            at += len(alone)
        assert name == "batch_num_images" or at == len(together)


def corner(padded: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    return padded[tuple(slice(0, length) for length in like.shape)]
