"""Prompts with media are those of transformers: each item made alone, against its processor on the
whole conversation."""

from importlib import import_module
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from thespis.gpu_runtime.inspection import hf
from thespis.gpu_runtime.processing import Clip
from thespis.gpu_runtime.processing.loading import load_processor
from thespis.protocol.chat_templates.source import operator_template
from thespis.protocol.requests.prepared import Prepared
from thespis.protocol.requests.request import (
    ChatMessage,
    ChatPrompt,
    Modality,
    Slot,
    Text,
    TextPrompt,
)

from ...helpers.media import clip, clip_frames, picture, sound
from ...helpers.reference import rope_owner
from ...zoo.catalog import Zoo, animal
from .parts import Parts, item, load, prepared, processor

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation"
)  # in transformers' own code
SIZES = ((90, 120), (64, 57))
PICTURES = (
    "llava",
    "llava_onevision",
    "qwen2_vl",
    "qwen3_vl",
    "glm46v",
    "hunyuan_vl",
    "idefics3",
    "internvl",
    "pixtral",
)
"""One of each kind of run: rows alone, rows that depend on company, three and four planes of
positions, marks, tiles, rows whose token is not the placeholder's, and ends of rows."""
CLIPS = ("qwen2_vl", "qwen3_vl", "glm46v", "internvl", "qwen2_5_omni")
HEARING = ("qwen2_5_omni", "qwen3_omni_moe")
OWN = ("minicpmv", "phi3_v", "ultravox_whole")


def theirs_of(folder: Path) -> Any:
    """transformers' own processor."""
    return load_processor(folder, hf.load_config(folder))


def whole(made: Any, conversation: list[dict[str, Any]], **options: Any) -> Any:
    """What transformers' own class makes of it, media nested as `apply_chat_template` nests
    them."""
    return made.apply_chat_template(
        conversation,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
        **options,
    )


def both(*content: Any) -> tuple[ChatPrompt, list[dict[str, Any]]]:
    """One user message, ours and theirs: texts, and (modality, medium)."""
    ours: list[Text | Slot] = []
    theirs: list[dict[str, Any]] = []
    for part in content:
        if isinstance(part, str):
            ours.append(Text(part))
            theirs.append({"type": "text", "text": part})
        else:
            ours.append(Slot(sum(isinstance(p, Slot) for p in ours)))
            theirs.append({"type": part[0], part[0]: part[1]})
    return ChatPrompt((ChatMessage("user", tuple(ours)),)), [{"role": "user", "content": theirs}]


def check_positions(parts: Parts, made: Prepared, truth: Any) -> None:
    """Of the prompt against the model's own rule on the whole of it."""
    if parts.model.position_planes == 1:
        assert (made.positions, made.position_delta) == (None, 0)
        return
    owner: Any = rope_owner(hf.build_on_meta(parts.model.path))
    told = {**truth, "second_per_grids": truth.get("video_second_per_grid")}
    if "feature_attention_mask" in truth:
        told["audio_seqlens"] = truth["feature_attention_mask"].sum(-1)
    taken = owner.get_rope_index.__code__.co_varnames
    expected, delta = owner.get_rope_index(
        **{name: value for name, value in told.items() if name in taken}
    )
    length = len(made.token_ids)
    positions = np.tile(np.arange(length), (parts.model.position_planes, 1))
    if made.positions is not None:
        positions = np.frombuffer(made.positions, "<i4").reshape(
            parts.model.position_planes, length
        )
    assert np.array_equal(positions, expected[:, 0].numpy())
    assert made.position_delta == int(delta.reshape(-1)[0])


@pytest.mark.parametrize("name", PICTURES)
def test_two_pictures(zoo: Zoo, name: str) -> None:
    parts, alone = load(zoo(name)), processor(zoo(name))
    first, second = (picture(seed, *size) for seed, size in enumerate(SIZES))
    prompt, theirs = both("What is\n", ("image", first), ("image", second), "\n\nthis? ")
    siblings = parts.model.siblings.get("image") == "image"
    made = prepared(
        parts,
        prompt,
        *[("image", alone.item("image", image, {}, siblings)) for image in (first, second)],
    )
    truth = whole(theirs_of(zoo(name)), theirs)
    assert list(made.token_ids) == truth["input_ids"][0].tolist()
    check_positions(parts, made, truth)


def test_pictures_without_marks_around_them(zoo: Zoo) -> None:
    """As the template of VLM2Vec joins the parts of its one message."""
    parts, alone = load(zoo("qwen2_vl")), processor(zoo("qwen2_vl"))
    first, second = (picture(seed, *size) for seed, size in enumerate(SIZES))
    prompt, _ = both(("image", first), "Represent it.", ("image", second))
    joined = msgspec.structs.replace(prompt, template=operator_template("vlm2vec_qwen2vl"))
    made = prepared(
        parts, joined, *[("image", alone.item("image", image, {})) for image in (first, second)]
    )
    text = "<|image_pad|> Represent it. <|image_pad|>"
    truth = theirs_of(zoo("qwen2_vl"))(text=[text], images=[[first, second]], return_tensors="pt")
    assert list(made.token_ids) == truth["input_ids"][0].tolist()
    check_positions(parts, made, truth)


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_beside_a_picture(zoo: Zoo, name: str) -> None:
    parts, alone = load(zoo(name)), processor(zoo(name))
    frames, image = clip_frames(clip(3, 5, 60, 90)), picture(1, 64, 57)
    prompt, theirs = both(("image", image), "and", ("video", frames), "?")
    items: list[tuple[Modality, Any]] = [
        ("image", alone.item("image", image, {})),
        ("video", alone.item("video", Clip(frames), {})),
    ]
    made = prepared(parts, prompt, *items)
    truth = whole(theirs_of(zoo(name)), theirs, processor_kwargs={"do_sample_frames": False})
    assert list(made.token_ids) == truth["input_ids"][0].tolist()
    check_positions(parts, made, truth)


@pytest.mark.parametrize("name", [*HEARING, "qwen2_audio"])
def test_two_sounds(zoo: Zoo, name: str) -> None:
    parts, alone = load(zoo(name)), processor(zoo(name))
    long, short = sound(1, 2.6), sound(2, 1.0)
    prompt, theirs = both("Who\n", ("audio", long), ("audio", short), " said so?")
    made = prepared(
        parts, prompt, *[("audio", alone.item("audio", samples, {})) for samples in (long, short)]
    )
    truth = whole(theirs_of(zoo(name)), theirs)
    assert list(made.token_ids) == truth["input_ids"][0].tolist()
    check_positions(parts, made, truth)


@pytest.mark.parametrize("name", HEARING)
@pytest.mark.parametrize("seconds", [1.0, 5.0])
def test_S33_a_clip_with_its_own_sound_between_two_pictures(
    zoo: Zoo, name: str, seconds: float
) -> None:
    """Whichever of picture and sound lasts longer."""
    parts, alone = load(zoo(name)), processor(zoo(name))
    frames, heard, image = clip_frames(clip(3, 6, 60, 90)), sound(4, seconds), picture(1, 64, 57)
    still = ("image", image)
    prompt, _ = both(still, "Look", ("video", frames), "now", still)
    pictured = alone.item("image", image, {})
    both_parts = alone.item("video", Clip(frames), {}, sound=heard)
    made = prepared(parts, prompt, ("image", pictured), ("video", both_parts), ("image", pictured))
    theirs: Any = theirs_of(zoo(name))
    text = (
        parts.renderer()
        .render(prompt, tuple(item(kind) for kind in ("image", "video", "image")))
        .text
    )
    truth = theirs(
        text=text,
        images=[[image, image]],
        videos=[frames],
        audio=[heard],
        audio_from_video_indices=[0],
        load_audio_from_video=True,
        videos_kwargs={"do_sample_frames": False},
        audio_kwargs={"sampling_rate": alone.sampling_rate},
        return_tensors="pt",
    )
    assert list(made.token_ids) == truth["input_ids"][0].tolist()
    assert {entry.modality for entry in made.items} == {"image", "video", "audio"}
    assert made.media_tokens["audio"] == both_parts.parts[1].rows
    check_positions(parts, made, {**truth, "use_audio_in_video": True})


@pytest.mark.parametrize("name", OWN)
def test_a_conversation_of_a_type_that_transformers_does_not_have(name: str, zoo: Zoo) -> None:
    """Against a processor in a straight line; the caller's words spell a placeholder."""
    parts, own = (
        load(zoo(name)),
        cast(Any, import_module(f"thespis.tests.zoo.own.{animal(name).own}")),
    )
    medium = cast(Modality, animal(name).takes[0])
    shown: Any = {
        "image": [picture(1, *SIZES[0]), picture(2, *SIZES[1])],
        "audio": [sound(1, 0.7), sound(2, 31.0)],
    }[medium]
    ours, theirs = both("See", (medium, shown[0]), "and", (medium, shown[1]), "what?")
    truth = own.Processor(zoo(name))
    text = truth.tokenizer.apply_chat_template(
        own.flat(theirs), tokenize=False, add_generation_prompt=True
    )
    expected = truth(text=[text], **{"images": [shown]} if medium == "image" else {"audio": shown})[
        "input_ids"
    ][0].tolist()
    items = [(medium, processor(zoo(name)).item(medium, one, {})) for one in shown]
    assert list(prepared(parts, ours, *items).token_ids) == expected
    framed = text.removeprefix("<|begin_of_text|>")  # what the tokenizer writes itself
    assert list(prepared(parts, TextPrompt(framed), *items).token_ids) == expected
    spelled, _ = both(f"{parts.model.placeholders[medium].token} <|image_1|>", (medium, shown[0]))
    made = prepared(parts, spelled, items[0])
    assert [span.length for item in made.items for span in item.spans] == list(items[0][1].counts)
