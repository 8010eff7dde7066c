"""What a checkpoint makes, and how its vectors are made, as its files say: those of
sentence-transformers, and its weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace as replaced
from safetensors.torch import load_file, save_file

from thespis.protocol.errors import EngineError
from thespis.protocol.facts import ModelFacts
from thespis.protocol.requests.pooling import Dense, Pooler

from ...zoo.kinds import Animal
from ...zoo.vectors import ANIMALS, modules, qwen3_embedding
from ...zoo.writing import write
from ..tiny import decoder_facts

PLAIN = ("Transformer", "Pooling", "Normalize")
WITH_DENSE = ("Transformer", "Pooling", "Dense", "Normalize")
PROMPTS = {"query": "Instruct: Find it\nQuery:", "document": ""}
DENSE = {
    "in_features": 64,
    "out_features": 32,
    "bias": True,
    "activation_function": "torch.nn.modules.linear.Identity",
}


def dense(
    folder: Path, stated: dict[str, Any] = DENSE, weights: dict[str, torch.Tensor] | None = None
) -> Path:
    """A checkpoint with a linear layer behind its pooling."""
    made = write(
        described(steps=WITH_DENSE, files={"2_Dense/config.json": stated}), folder / "embedder"
    )
    linear = (
        {"linear.weight": torch.ones(32, 64), "linear.bias": torch.ones(32)}
        if weights is None
        else weights
    )
    save_file(linear, made / "2_Dense" / "model.safetensors")
    return made


def described(
    config: dict[str, Any] | None = None, files: dict[str, Any] | None = None, **how: Any
) -> Animal:
    made = qwen3_embedding(**how)
    return replace(
        made, config={**made.config, **(config or {})}, files={**made.files, **(files or {})}
    )


def found(folder: Path, animal: Animal) -> ModelFacts:
    return decoder_facts(write(animal, folder / "embedder"))


@pytest.mark.parametrize(
    ("animal", "pooler"),
    [
        (described(), Pooler()),
        (described(mode="mean_tokens"), Pooler(take="mean")),
        (described(mode="cls_token", steps=PLAIN[:2]), Pooler(take="cls", normalize=False)),
        (described(files={"1_Pooling/config.json": {"pooling_mode": "mean"}}), Pooler(take="mean")),
        (described(mode="max_tokens"), Pooler(take="max")),
        (described(mode="mean_sqrt_len_tokens"), Pooler(take="mean_sqrt")),
        (
            described(files={"1_Pooling/config.json": {"pooling_mode": "weightedmean"}}),
            Pooler(take="weighted_mean"),
        ),
        (described({"is_matryoshka": True}), Pooler(matryoshka=True)),
        (
            described({"matryoshka_dimensions": [32, 16]}),
            Pooler(matryoshka=True, dimensions=(32, 16)),
        ),
    ],
    ids=[
        "published",
        "mean",
        "cls, as long as it is",
        "newer form",
        "max",
        "mean over a root",
        "weighted mean",
        "any beginning",
        "some beginnings",
    ],
)
def test_files_say_how_vectors_are_made(tmp_path: Path, animal: Animal, pooler: Pooler) -> None:
    facts = found(tmp_path, animal)
    assert facts.output == "vector"
    assert facts.pooler == replaced(pooler, prompts=PROMPTS)


@pytest.mark.parametrize(
    ("animal", "words"),
    [
        (described(mode="none at all"), "is none, which is not built"),
        (
            described(files={"1_Pooling/config.json": {"pooling_mode": "median"}}),
            "is median, which is not built",
        ),
        (described(steps=(*PLAIN, "Dense")), "has a Dense where none is built"),
        (described(steps=("Transformer", "Dense", "Pooling")), "has a Dense where none is built"),
        (described(steps=(*PLAIN, "LSTM")), "names a LSTM, which is not built"),
        (described(files={"sentence_bert_config.json": {"do_lower_case": True}}), "in lower case"),
        (
            described(
                files={"1_Pooling/config.json": {"pooling_mode": "mean", "include_prompt": False}}
            ),
            "leaves out the tokens",
        ),
        (
            described(files={"config_sentence_transformers.json": {"prompts": {"a": 1}}}),
            "prompts are texts by name",
        ),
        (
            described(files={"config_sentence_transformers.json": {"default_prompt_name": "a"}}),
            "default_prompt_name is one",
        ),
        (described(files={"modules.json": "{}"}), "is no list of modules"),
        (
            described(files={"modules.json": modules(*PLAIN).replace("1_Pooling", "../other")}),
            "names a folder outside",
        ),
        (
            described({"architectures": ["Qwen3ForSequenceClassification"]}),
            "classifying and scoring are not built",
        ),
        (described({"matryoshka_dimensions": ["a"]}), "are no lengths"),
    ],
)
def test_what_would_make_other_vectors_is_refused_by_name(
    tmp_path: Path, animal: Animal, words: str
) -> None:
    with pytest.raises(EngineError, match=words) as caught:
        found(tmp_path, animal)
    assert str(tmp_path) not in str(caught.value)


def test_a_linear_layer_behind_the_pooling(tmp_path: Path) -> None:
    facts = decoder_facts(dense(tmp_path))
    layer = Dense(path="2_Dense", inputs=64, outputs=32, activation="Identity")
    assert facts.pooler == Pooler(dense=(layer,), prompts=PROMPTS)
    assert facts.vector_width == 32


@pytest.mark.parametrize(
    ("stated", "weights", "words"),
    [
        ({"in_features": 32}, None, "takes vectors of 32 numbers and would get 64"),
        ({"out_features": 1 << 40}, None, "a Dense has in_features"),
        ({"out_features": True}, None, "a Dense has in_features"),
        (
            {"activation_function": "torch.nn.modules.activation.Softmax"},
            None,
            "the activation Softmax, which is not built",
        ),
        ({"module_input_name": "token_embeddings"}, None, "a Dense takes pooled states"),
        ({"out_features": 16}, None, r"is \[32, 64\]; its config.json asks for \[16, 64\]"),
        ({}, {"linear.weight": torch.ones(32, 64)}, r"lacks linear.bias in 2_Dense"),
    ],
)
def test_a_linear_layer_that_is_not_built_or_broken(
    tmp_path: Path, stated: dict[str, Any], weights: dict[str, torch.Tensor] | None, words: str
) -> None:
    with pytest.raises(EngineError, match=words) as caught:
        decoder_facts(dense(tmp_path, DENSE | stated, weights))
    assert str(tmp_path) not in str(caught.value)


def test_what_a_model_is_run_for(tmp_path: Path) -> None:
    """A folder of a base class is of vectors; one with a head is of text; who starts it may say
    otherwise where it can."""
    folder = write(described(), tmp_path / "embedder")
    assert decoder_facts(folder, "generate").output == "token"  # its head is tied
    headless = write(ANIMALS["qwen3_vl_embedding"](), tmp_path / "headless")
    assert decoder_facts(headless).pooler == Pooler()
    with pytest.raises(EngineError, match="stores no head"):
        decoder_facts(headless, "generate")
    generating = write(ANIMALS["vlm2vec"](), tmp_path / "generating")
    assert decoder_facts(generating).output == "token"
    assert decoder_facts(generating, "pooling").pooler == Pooler()


def test_a_text_without_direction_is_not_written(tmp_path: Path) -> None:
    folder = write(ANIMALS["embedding_gemma"](), tmp_path / "embedder")
    assert decoder_facts(folder).output == "vector"
    with pytest.raises(EngineError, match="sees its text both ways, so that it can write none"):
        decoder_facts(folder, "generate")


def test_a_base_class_by_name_is_read_with_its_own_names(tmp_path: Path) -> None:
    made = described({"architectures": ["Qwen3Model"], "tie_word_embeddings": False})
    folder = write(replace(made, files={}), tmp_path / "base")
    weights = load_file(folder / "model.safetensors")
    weights.pop("lm_head.weight", None)
    assert "layers.0.mlp.up_proj.weight" in weights
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert decoder_facts(folder).output == "vector"
