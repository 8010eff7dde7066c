"""Broken checkpoints are told in words that help, without paths; whole ones are read whatever their
names' age."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.inspection.hf import build_on_meta
from thespis.gpu_runtime.models.encoder import load_encoder
from thespis.gpu_runtime.models.language_model import load_language_model
from thespis.gpu_runtime.weights.checkpoint import Checkpoint
from thespis.protocol.errors import EngineError

from ...helpers.checkpoints import FAMILIES, Checkpoints, Family
from ...helpers.facts import facts_of
from ...helpers.reference import reference_for
from ...zoo.catalog import Zoo, animal
from ...zoo.writing import true_config

Weights = dict[str, torch.Tensor]


def copied(folder: Path, to: Path, change: Callable[[Weights], None]) -> Path:
    made = to / "some-model"
    shutil.copytree(folder, made)
    weights = load_file(made / "model.safetensors")
    change(weights)
    save_file(weights, made / "model.safetensors", {"format": "pt"})
    return made


def load_both(folder: Path) -> None:
    info = facts_of(folder)
    load_language_model(info, torch.float32, torch.device("cpu"))
    load_encoder(info, "float32", "cpu", 1)


def lose(weights: Weights) -> None:
    del weights["model.layers.1.mlp.up_proj.weight"]


def lose_tower(weights: Weights) -> None:
    del weights["visual.blocks.0.attn.proj.bias"]


def lose_head(weights: Weights) -> None:
    del weights["lm_head.weight"]


def widen(weights: Weights) -> None:
    weights["model.norm.weight"] = torch.ones(65)


def add(weights: Weights) -> None:
    weights["model.layers.0.self_attn.q_proj.lora_a"] = torch.ones(2)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lose,
            r"'some-model' lacks the weight model\.language_model\.layers\.1\.mlp\.up_proj\.weight",
        ),
        (lose_tower, r"'some-model' lacks the weight model\.visual\.blocks\.0\.attn\.proj\.bias"),
        (
            widen,
            r"model\.norm\.weight of the checkpoint 'some-model' is \[65\]; its config\.json "
            r"asks for \[64\]",
        ),
        (
            add,
            r"'some-model' holds the weight "
            r"model\.language_model\.layers\.0\.self_attn\.q_proj\.lora_a, which",
        ),
    ],
)
def test_broken_checkpoints_are_named(
    change: Callable[[Weights], None], text: str, tmp_path: Path, checkpoints: Checkpoints
) -> None:
    made = copied(checkpoints("qwen_vl"), tmp_path, change)
    with pytest.raises(EngineError, match=text) as caught:
        load_both(made)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_new_names_are_read_like_old_ones(
    family: Family, tmp_path: Path, checkpoints: Checkpoints
) -> None:
    """transformers writes the old names; a checkpoint with the names of its modules is as good."""
    current = reference_for(checkpoints(family)).model.state_dict()

    def rename(weights: Weights) -> None:
        weights.clear()
        weights.update({name: tensor.clone() for name, tensor in current.items()})

    load_both(copied(checkpoints(family), tmp_path, rename))


def test_the_thinker_is_found_in_a_whole_omni_checkpoint(
    tmp_path: Path, checkpoints: Checkpoints
) -> None:
    def nest(weights: Weights) -> None:
        for name in list(weights):
            weights[f"thinker.{name}"] = weights.pop(name)
        weights["talker.model.norm.weight"] = torch.ones(8)

    made = copied(checkpoints("qwen_omni"), tmp_path, nest)
    thinker = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(
        json.dumps({"model_type": "qwen2_5_omni", "thinker_config": thinker})
    )
    assert facts_of(made).model_type == "qwen2_5_omni"
    load_both(made)


def test_a_computed_table_beyond_all_measure_is_refused_before_memory_is_taken(
    tmp_path: Path, checkpoints: Checkpoints
) -> None:
    """No weight on disk bounds it: the audio tower's positions are as many as config.json says."""
    folder = checkpoints("qwen_omni")
    made = copied(folder, tmp_path, keep)
    config = json.loads((made / "config.json").read_text())
    config["audio_config"]["max_source_positions"] = 10**12
    (made / "config.json").write_text(json.dumps(config))
    facts = msgspec.structs.replace(facts_of(folder), path=str(made))
    with pytest.raises(
        EngineError,
        match=r"positional_embedding of \[1000000000000, \d+\], which is computed and not stored",
    ):
        load_encoder(facts, "float32", "cpu", 1)


def test_a_tied_head_is_the_embedding(tmp_path: Path, checkpoints: Checkpoints) -> None:
    made = copied(checkpoints("qwen_vl"), tmp_path, lose_head)
    config = json.loads((made / "config.json").read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = True
    (made / "config.json").write_text(json.dumps(config))
    model = load_language_model(facts_of(made), torch.float32, torch.device("cpu"))
    with torch.inference_mode():
        hidden = torch.randn(2, 64)
        torch.testing.assert_close(
            model.logits(hidden), hidden @ model.embed(torch.arange(facts_of(made).vocab)).T
        )


PUBLISHED = (
    "llava",
    "llava_siglip",
    "qwen2_vl",
    "qwen2_5_omni",
    "qwen3_vl_moe",
    "qwen3_asr_thinker",
    "glm_ocr",
    "idefics3",
    "mixtral",
    "phi4_multimodal",
)
"""Old prefixes, shards, a thinker, experts one by one and all in one, a layer too many, towers
whose last norm nobody needs."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_weight_of_a_published_form_is_the_one_that_transformers_reads(
    name: str, zoo: Zoo
) -> None:
    folder, described = zoo(name), animal(name)
    whole = build_on_meta(folder)
    checkpoint = Checkpoint(str(folder), whole)
    assert not checkpoint.missing()
    if not described.native:  # transformers itself does not know these names
        return
    config = true_config(described, folder)
    model: Any = getattr(transformers, described.model).from_pretrained(
        folder, config=config, dtype=torch.float32
    )
    for key, wanted in model.state_dict().items():
        found = checkpoint.read(key, wanted.shape, torch.float32, torch.device("cpu"))
        assert torch.equal(found, wanted), key


FLAGS = [None, True, False]


@pytest.mark.parametrize("text", FLAGS)
@pytest.mark.parametrize("top", FLAGS)
@pytest.mark.parametrize("stored", [True, False])
def test_a_stored_head_is_the_head_and_else_one_flag_ties_it(
    top: bool | None, text: bool | None, stored: bool, tmp_path: Path, checkpoints: Checkpoints
) -> None:
    made = copied(checkpoints("qwen_vl"), tmp_path, keep if stored else lose_head)
    config = json.loads((made / "config.json").read_text())
    for part, flag in ((config, top), (config["text_config"], text)):
        part.pop("tie_word_embeddings", None)
        part |= {} if flag is None else {"tie_word_embeddings": flag}
    (made / "config.json").write_text(json.dumps(config))
    facts = msgspec.structs.replace(model_facts(checkpoints("qwen_vl")), path=str(made))
    if not (stored or top or text):
        with pytest.raises(
            EngineError,
            match=r"lacks the weight lm_head\.weight, and its config\.json ties it to no other",
        ):
            load_language_model(facts, torch.float32, torch.device("cpu"))
        return
    model = load_language_model(facts, torch.float32, torch.device("cpu"))
    weights = load_file(made / "model.safetensors")
    hidden = torch.randn(2, 64)
    head = weights["lm_head.weight" if stored else "model.embed_tokens.weight"]
    torch.testing.assert_close(model.logits(hidden), hidden @ head.T)


def keep(weights: Weights) -> None:
    pass
