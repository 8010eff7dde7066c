"""The towers alone give what the whole model gives, batched or not."""

import inspect
from typing import Any

import pytest
import torch
import transformers

from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.models.encoder import Encoder, load_encoder
from thespis.gpu_runtime.processing import load
from thespis.protocol.requests.request import Modality

from ...helpers.checkpoints import Checkpoints, Family
from ...helpers.environment import DEVICE
from ...helpers.facts import facts_of
from ...helpers.media import picture
from ...helpers.media import sound as tone
from ...helpers.reference import Media, reference_for
from ...zoo.catalog import Zoo, animal
from ...zoo.reference import reference_for as zoo_reference
from ...zoo.writing import true_config

Tensors = dict[str, torch.Tensor]


def patches(kind: str, *grid: int) -> Tensors:
    t, h, w = grid
    values = torch.randn(
        t * h * w, 3 * 2 * 14 * 14, generator=torch.Generator().manual_seed(sum(grid))
    )
    names = (
        ("pixel_values", "image_grid_thw")
        if kind == "image"
        else ("pixel_values_videos", "video_grid_thw")
    )
    return dict(zip(names, (values, torch.tensor([grid])), strict=True))


def sound(frames: int, room: int) -> Tensors:
    mask = torch.zeros(1, room, dtype=torch.int64)
    mask[:, :frames] = 1
    values = torch.randn(1, 128, room, generator=torch.Generator().manual_seed(frames))
    return {"input_features": values, "feature_attention_mask": mask}


def pixels(seed: int) -> Tensors:
    return {
        "pixel_values": torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(seed))
    }


ITEMS: list[tuple[Family, str, list[Tensors]]] = [
    (
        "qwen_omni",
        "image",
        [patches("image", 1, 4, 4), patches("image", 1, 8, 6), patches("image", 1, 4, 6)],
    ),
    ("qwen_omni", "video", [patches("video", 3, 4, 4), patches("video", 1, 4, 8)]),
    ("qwen_omni", "audio", [sound(100, 400), sound(373, 400), sound(51, 60)]),
    ("qwen_vl", "image", [patches("image", 1, 4, 4), patches("image", 1, 8, 6)]),
    ("qwen_vl", "video", [patches("video", 3, 4, 4), patches("video", 1, 4, 8)]),
    ("llava", "image", [pixels(1), pixels(2), pixels(3)]),
]


@pytest.mark.parametrize(
    ("family", "modality", "items"), ITEMS, ids=[f"{f}-{m}" for f, m, _ in ITEMS]
)
def test_batched_equals_alone_equals_transformers(
    family: Family, modality: str, items: list[Tensors], checkpoints: Checkpoints
) -> None:
    folder = checkpoints(family)
    encoder = load_encoder(facts_of(folder), "float32", DEVICE, 1)
    model = reference_for(folder).model
    wanted = []
    for item in items:
        with torch.inference_mode():
            out = getattr(model, f"get_{modality}_features")(**item)
        wanted.append(out.last_hidden_state if modality == "audio" else out.pooler_output[0])
    together = encoder.encode(modality, items, list(map(len, wanted)))
    assert len(together) == len(items)
    for rows, item, whole in zip(together, items, wanted, strict=True):
        torch.testing.assert_close(rows, whole, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(
            rows, encoder.encode(modality, [item], [len(whole)])[0], atol=1e-4, rtol=1e-4
        )


def test_every_layer_of_a_tower_asks_before_each_of_its_parts(checkpoints: Checkpoints) -> None:
    """Norms and activations stand between whatever takes long."""
    asked: list[int] = []
    folder = checkpoints("qwen_vl")
    encoder = load_encoder(
        facts_of(folder), "float32", "cpu", 1, before_part=lambda: asked.append(1)
    )
    encoder.encode("image", [patches("image", 1, 4, 4)], [4])
    assert len(asked) > 3 * reference_for(folder).model.config.vision_config.depth


def loaded(encoder: Encoder) -> set[str]:
    """Children of the body that have weights."""
    body = encoder._towers.owner
    return {
        name
        for name, child in body.named_children()
        if any(p.device.type != "meta" for p in child.parameters())
    }


def test_the_encoder_holds_no_language_model(checkpoints: Checkpoints) -> None:
    assert loaded(load_encoder(facts_of(checkpoints("qwen_vl")), "float32", DEVICE, 1)) == {
        "visual"
    }


@pytest.mark.parametrize(
    ("family", "modalities", "kept"),
    [
        ("qwen_omni", ("image", "video", "audio"), {"audio_tower", "visual"}),
        ("qwen_omni", ("audio",), {"audio_tower"}),
        ("qwen_omni", ("video",), {"visual"}),
        ("qwen_omni", (), set()),
        ("qwen_vl", ("image",), {"visual"}),
        ("qwen_vl", ("audio",), set()),
        ("llava", (), set()),
    ],
)
def test_B12_towers_of_what_never_comes_are_not_loaded(
    checkpoints: Checkpoints, family: Family, modalities: tuple[Modality, ...], kept: set[str]
) -> None:
    encoder = load_encoder(facts_of(checkpoints(family)), "float32", "cpu", 1, modalities)
    assert loaded(encoder) == kept


TOWERS: list[tuple[str, Modality]] = [
    ("qwen3_vl", "image"),
    ("idefics3", "image"),
    ("llava_next", "image"),
    ("internvl", "image"),
    ("qwen3_omni_moe", "audio"),
    ("qwen2_audio", "audio"),
    ("phi4_multimodal", "audio"),
]
"""Rows of further layers, masks, tiles, and the two without `get_audio_features`."""


@pytest.mark.parametrize(("name", "modality"), TOWERS)
def test_any_tower_gives_what_the_models_own_forward_puts_in_its_first_layer(
    name: str, modality: Modality, zoo: Zoo
) -> None:
    folder, described = zoo(name), animal(name)
    processor, encoder = load(folder), load_encoder(model_facts(folder), "float32", DEVICE, 1)
    media = [picture(1), picture(2)] if modality == "image" else [tone(1), tone(2)]
    parts = [processor.item(modality, one, {}).parts[0] for one in media]
    items = [
        {key: torch.from_numpy(value.copy()) for key, value in part.tensors.items()}
        for part in parts
    ]
    together = encoder.encode(modality, items, [part.rows for part in parts])
    config = true_config(described, folder)
    model: Any = getattr(transformers, described.model).from_pretrained(
        folder, config=config, dtype=torch.float32
    )
    for part, item, rows in zip(parts, items, together, strict=True):
        wanted = first_layer(model, torch.full((1, part.rows), part.embed_token_id), item)
        width = wanted.shape[1]
        torch.testing.assert_close(rows[:, :width], wanted, atol=1e-4, rtol=1e-4)
        assert not rows[:, width:].any(), "a kind of which further layers get nothing"


def first_layer(model: Any, ids: torch.Tensor, features: Tensors) -> torch.Tensor:
    """[rows, embed_width]: the hidden states that the first layer gets, and what the decoder is to
    add further on."""
    found: list[torch.Tensor] = []
    decoder = model.get_decoder()
    layer = decoder.layers[0].register_forward_pre_hook(lambda _, args: found.append(args[0][0]))
    whole = decoder.register_forward_pre_hook(
        lambda _, args, given: found.extend(given.get("deepstack_visual_embeds") or ()),
        with_kwargs=True,
    )
    kinds = {"mm_token_type_ids": torch.ones_like(ids)}
    taken = inspect.signature(type(model).forward).parameters
    with torch.inference_mode():
        model(
            input_ids=ids,
            **features,
            **{key: value for key, value in kinds.items() if key in taken},
        )
    layer.remove()
    whole.remove()
    *deep, hidden = found
    return torch.cat([hidden, *deep], dim=-1)


def test_a_picture_of_a_single_row_gets_it(zoo: Zoo) -> None:
    """transformers' own forward fails with one such picture, and answers for two."""
    folder = zoo("mistral3")
    made = load(folder).item("image", picture(1, 1, 1), {}).parts[0]
    assert made.rows == 1
    tensors = {name: torch.from_numpy(value) for name, value in made.tensors.items()}
    [row] = load_encoder(model_facts(folder), "float32", DEVICE, 1).encode("image", [tensors], [1])
    config = true_config(animal("mistral3"), folder)
    model = transformers.Mistral3ForConditionalGeneration.from_pretrained(
        folder, config=config, dtype=torch.float32
    )
    with torch.inference_mode():
        both = model.model.get_image_features(
            **{name: torch.cat([tensor] * 2) for name, tensor in tensors.items()}
        )
    torch.testing.assert_close(row.cpu(), both.pooler_output[0], rtol=1e-4, atol=1e-5)


def test_a_sound_beside_a_picture_and_one_without_padding_are_what_the_models_forward_makes(
    zoo: Zoo,
) -> None:
    """Of Phi-4: it has a projection for sounds alone and one for those beside pictures. By
    transformers' eager attention: its SDPA makes the picture tower causal where no picture is
    padded, as the square one here is not when it is alone."""
    folder = zoo("phi4_multimodal")
    facts, processor = model_facts(folder), load(folder)
    reference, encoder = (
        zoo_reference("phi4_multimodal", folder),
        load_encoder(facts, "float32", DEVICE, 1),
    )
    square, wide, heard = picture(1, 56, 56), picture(2, 90, 60), tone(1)
    assert facts.siblings == {"audio": "image"}

    def rows(modality: Modality, media: Any, siblings: bool = False) -> torch.Tensor:
        [part] = processor.item(modality, media, {}, siblings=siblings).parts
        tensors = {name: torch.from_numpy(value) for name, value in part.tensors.items()}
        return encoder.encode(part.kind, [tensors], [part.rows])[0]

    def wanted(media: Media) -> torch.Tensor:
        marks = "<|image|>" * len(media.images) + "<|audio|>" * len(media.audio)
        inputs = reference.inputs(f"{marks}What", media)
        ids = inputs.pop("input_ids")
        places = torch.isin(
            ids[0], torch.tensor([place.embed_token_id for place in facts.placeholders.values()])
        )
        return first_layer(reference.model, ids, inputs)[places]

    alone, beside = rows("audio", heard), rows("audio", heard, siblings=True)
    assert (alone - beside).abs().max() > 0.1
    both = torch.cat([rows("image", square), rows("image", wide)])
    torch.testing.assert_close(alone, wanted(Media(audio=(heard,))), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        rows("image", square), wanted(Media(images=(square,))), atol=1e-4, rtol=1e-4
    )
    together = wanted(Media(images=(square, wide), audio=(heard,)))
    torch.testing.assert_close(torch.cat([both, beside]), together, atol=1e-4, rtol=1e-4)
