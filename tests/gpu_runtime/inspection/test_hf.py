"""Configurations in the forms that published checkpoints have, and which class runs them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from thespis.gpu_runtime.inspection.config_forms import text_config
from thespis.gpu_runtime.inspection.hf import build_on_meta, load_config, model_class
from thespis.protocol.errors import EngineError

TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 96,
    "max_position_embeddings": 777,
    "rope_theta": 50000.0,
}
MROPE = {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}}


def write(folder: Path, **config: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(EngineError) as caught:
        load_config(folder)
    return str(caught.value)


def test_left_out_numbers_are_the_class_s_own(tmp_path: Path) -> None:
    """LLaVA-1.5's text part holds but what differs from Llama's defaults."""
    text = {
        "model_type": "llama",
        "max_position_embeddings": 4096,
        "vocab_size": 32064,
        "dtype": "float16",
    }
    config = load_config(
        write(
            tmp_path,
            model_type="llava",
            text_config=text,
            vision_config={"model_type": "siglip_vision_model"},
        )
    )
    read = text_config(config)
    assert (read.hidden_size, read.num_hidden_layers, read.num_key_value_heads, read.head_dim) == (
        4096,
        32,
        32,
        128,
    )
    assert (read.vocab_size, read.max_position_embeddings) == (32064, 4096)


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl", "glm4v"])
def test_a_flat_file_and_a_nested_one_say_the_same(tmp_path: Path, kind: str) -> None:
    """transformers reads GLM's flat form as if it stated nothing: the context was 32768 of
    65536."""
    (flat := tmp_path / "flat").mkdir()
    (nested := tmp_path / "nested").mkdir()
    vision = {"depth": 1, "hidden_size": 16}
    one = text_config(
        load_config(write(flat, model_type=kind, vision_config=vision, **TEXT, **MROPE))
    )
    two = text_config(
        load_config(
            write(nested, model_type=kind, vision_config=vision, text_config={**TEXT, **MROPE})
        )
    )
    for read in (one, two):
        assert {key: getattr(read, key) for key in TEXT if key != "rope_theta"} | {
            "rope_theta": 50000.0
        } == TEXT
        assert read.rope_parameters["rope_theta"] == 50000.0
        assert read.rope_parameters["mrope_section"] == [1, 1, 2]


def test_a_thinker_around_a_type_that_has_none(tmp_path: Path) -> None:
    """Qwen3-ASR is published inside a thinker's configuration, its parts under names that
    transformers does not have."""
    thinker = {
        "model_type": "qwen3_asr_thinker",
        "audio_config": {
            "model_type": "qwen3_asr_audio_encoder",
            "encoder_layers": 1,
            "d_model": 16,
        },
        "text_config": {"model_type": "qwen3_asr_text", **TEXT},
    }
    config = load_config(write(tmp_path, model_type="qwen3_asr", thinker_config=thinker))
    assert text_config(config).hidden_size == 32
    assert config.audio_config.d_model == 16
    assert model_class(config).__name__ == "Qwen3ASRForConditionalGeneration"


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("qwen2_5_omni", "Qwen2_5OmniThinkerForConditionalGeneration"),
        ("qwen3_omni_moe", "Qwen3OmniMoeThinkerForConditionalGeneration"),
    ],
)
def test_of_a_model_that_speaks_the_thinker_is_taken(
    tmp_path: Path, kind: str, wanted: str
) -> None:
    thinker = {
        "model_type": f"{kind}_thinker",
        "text_config": TEXT,
        "vision_config": {"depth": 1},
        "audio_config": {},
    }
    config = load_config(
        write(
            tmp_path,
            model_type=kind,
            architectures=["Other"],
            thinker_config=thinker,
            talker_config={},
        )
    )
    assert text_config(config).vocab_size == 96
    assert model_class(config).__name__ == wanted


def test_the_class_that_is_named_wins_over_the_type(tmp_path: Path) -> None:
    """LightOnOCR-2 says mistral3, and a class of another type, in other capitals than the class
    has."""
    vision = {"model_type": "pixtral", "hidden_size": 16, "num_hidden_layers": 1}
    config = load_config(
        write(
            tmp_path,
            model_type="mistral3",
            architectures=["LightOnOCRForConditionalGeneration"],
            text_config={"model_type": "qwen3", **TEXT, "head_dim": 8},
            vision_config=vision,
        )
    )
    assert config.model_type == "lighton_ocr"
    assert model_class(config).__name__ == "LightOnOcrForConditionalGeneration"


def test_a_text_model_alone_stays_one_whatever_class_is_named(tmp_path: Path) -> None:
    """Qwen3.5's text part was published under the class with the pictures, whose tower it does not
    have."""
    linear = {
        "linear_num_key_heads": 1,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
    }
    config = load_config(
        write(
            tmp_path,
            model_type="qwen3_5_moe_text",
            architectures=["Qwen3_5MoeForConditionalGeneration"],
            head_dim=8,
            num_experts=2,
            num_experts_per_tok=1,
            **TEXT,
            **linear,
        )
    )
    assert model_class(config).__name__ == "Qwen3_5MoeForCausalLM"


def test_code_of_a_checkpoint_is_neither_run_nor_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asks"))
    (tmp_path / "configuration_x.py").write_text("raise SystemExit('it ran')")
    folder = write(
        tmp_path, model_type="internvl_chat", auto_map={"AutoConfig": "configuration_x.XConfig"}
    )
    assert "'internvl_chat'" in refusal(folder)
    assert "never run" in refusal(folder)


def test_a_native_type_needs_none_of_its_code(tmp_path: Path) -> None:
    (tmp_path / "configuration_x.py").write_text("raise SystemExit('it ran')")
    auto_map = {"AutoConfig": "configuration_x.XConfig"}
    assert (
        text_config(
            load_config(write(tmp_path, model_type="qwen3", auto_map=auto_map, **TEXT))
        ).hidden_size
        == 32
    )


def test_what_is_refused_says_what_and_why(tmp_path: Path) -> None:
    assert "'strange'" in refusal(write(tmp_path, model_type="strange"))
    assert "model_type is missing" in refusal(write(tmp_path, hidden_size=3))
    assert "encoder" in refusal(write(tmp_path, model_type="whisper"))
    assert "broken" in refusal(write(tmp_path, model_type="qwen3", hidden_size="many"))
    assert "num_layers=1000000000 is beyond" in refusal(
        write(tmp_path, model_type="qwen3", vision={"num_layers": 10**9})
    )
    (tmp_path / "config.json").write_text("[1]")
    assert "no JSON object" in refusal(tmp_path)
    for named in (["Qwen3ForCausalLM", 5], [None], "Qwen3ForCausalLM", {"a": 1}):
        assert "no list of names" in refusal(
            write(tmp_path, model_type="qwen3", architectures=named, **TEXT)
        )


def test_a_file_of_strange_json_is_refused_with_a_sentence(tmp_path: Path) -> None:
    assert "cannot be read as JSON" in refusal(
        write(tmp_path, model_type="qwen3", **{**TEXT, "rope_theta": float("nan")})
    )
    for opened, closed in (('{"a":', "}"), ("[", "]")):
        nested = opened * 900 + "1" + closed * 900
        (tmp_path / "config.json").write_text(f'{{"model_type": "qwen3", "deep": {nested}}}')
        assert "nested more than 100 levels deep" in refusal(tmp_path)


def test_an_endless_number_is_one(tmp_path: Path) -> None:
    """Published files have limits that are lifted."""
    assert (
        load_config(
            write(tmp_path, model_type="qwen3", time_step_limit=[0.0, float("inf")], **TEXT)
        ).model_type
        == "qwen3"
    )


def test_what_no_form_of_the_class_keeps_is_refused_by_name(tmp_path: Path) -> None:
    """InternVL's original form has its text part under another name, of which all would be lost in
    silence."""
    assert "it does not read llm_config" in refusal(
        write(tmp_path, model_type="internvl", llm_config=TEXT, vision_config={})
    )


def test_numbers_left_at_the_top_do_not_count_where_the_text_has_a_part(tmp_path: Path) -> None:
    stale = {"hidden_size": 64, "num_attention_heads": 8, "vocab_size": 3}
    folder = write(
        tmp_path, model_type="qwen2_vl", text_config=TEXT, vision_config={"depth": 1}, **stale
    )
    assert text_config(load_config(folder)).hidden_size == 32


@pytest.mark.parametrize("top", [None, False, True])
@pytest.mark.parametrize("text", [None, False, True])
def test_tied_when_either_part_says_so(tmp_path: Path, top: bool | None, text: bool | None) -> None:
    """As transformers ties, in all nine combinations; both silent: as the class has it, here tied
    for Mistral3."""
    outer = {} if top is None else {"tie_word_embeddings": top}
    inner = {} if text is None else {"tie_word_embeddings": text}
    vision = {
        "model_type": "pixtral",
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 8,
    }
    part = {"model_type": "mistral", **TEXT, "head_dim": 8, **inner}
    config = load_config(
        write(tmp_path, model_type="mistral3", text_config=part, vision_config=vision, **outer)
    )
    assert config.tie_word_embeddings is (
        True if top is None and text is None else bool(top or text)
    )


def test_the_whole_model_costs_no_memory(tmp_path: Path) -> None:
    model: Any = build_on_meta(write(tmp_path, model_type="qwen3", head_dim=24, **TEXT))
    assert {parameter.device for parameter in model.parameters()} == {torch.device("meta")}
    assert model.get_output_embeddings().weight.shape == (96, 32)
    assert model.model.layers[0].self_attn.k_proj.weight.shape == (2 * 24, 32)
