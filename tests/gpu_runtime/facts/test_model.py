"""The facts of checkpoints in the forms that are published, where these leave something out, say it
twice, or elsewhere."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from thespis.gpu_runtime.inspection.hf import build_on_meta, load_config
from thespis.protocol.config.engine import RunnerKind
from thespis.protocol.errors import EngineError
from thespis.protocol.facts import KvGroup, RecurrentGroup

from ..inspection.test_hf import MROPE, TEXT
from ..tiny import decoder_facts

QWEN = {"model_type": "qwen3", "head_dim": 24, **TEXT}
VISION = {
    "model_type": "siglip_vision_model",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
}
GEMMA = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "vocab_size": 96,
    "head_dim": 8,
    "sliding_window": 5,
    "layer_types": [
        "sliding_attention",
        "sliding_attention",
        "sliding_attention",
        "full_attention",
    ],
}
ENDS = {
    "added_tokens": [{"id": 7, "content": "<end>"}, {"id": 9, "content": "<pad>"}],
    "model": {"vocab": {"a": 0}},
}


def write(folder: Path, name: str, value: Any) -> None:
    (folder / name).write_text(json.dumps(value))


def make(
    folder: Path,
    config: dict[str, Any],
    *,
    leave_out: Iterable[str] = ("lm_head.weight",),
    dtype: torch.dtype = torch.float32,
    ends: int | None = 7,
) -> Path:
    """A checkpoint of `config`: weights of zeros, by default without a head."""
    write(folder, "config.json", config)
    write(folder, "tokenizer.json", ENDS)
    if ends is not None:
        write(folder, "generation_config.json", {"eos_token_id": ends})
    shapes = {name: weight.shape for name, weight in build_on_meta(folder).state_dict().items()}
    save_file(
        {
            name: torch.zeros(shape, dtype=dtype)
            for name, shape in shapes.items()
            if name not in leave_out
        },
        folder / "model.safetensors",
    )
    return folder


def refusal(folder: Path, runner: RunnerKind = "auto") -> str:
    with pytest.raises(EngineError) as caught:
        decoder_facts(folder, runner)
    return str(caught.value)


def test_heads_wider_than_hidden_over_heads(tmp_path: Path) -> None:
    """Qwen3: 4 heads of 24 on 32 columns."""
    facts = decoder_facts(make(tmp_path, {**QWEN, "tie_word_embeddings": True}))
    assert facts.kv_groups == (KvGroup(layers=(0, 1), kv_heads=2, key_dim=24, value_dim=24),)
    assert (facts.layers, facts.hidden, facts.vocab, facts.context, facts.architecture) == (
        2,
        32,
        96,
        777,
        "Qwen3ForCausalLM",
    )
    assert (facts.position_planes, facts.span_layers, facts.recurrent, facts.deepstack_levels) == (
        1,
        (),
        (),
        0,
    )


@pytest.mark.parametrize("used", [False, None, True])
def test_a_window_counts_where_it_is_used(tmp_path: Path, used: bool | None) -> None:
    """Qwen2 states a window of 32768 that it does not use."""
    said = {} if used is None else {"use_sliding_window": used}
    config = {
        "model_type": "qwen2",
        **TEXT,
        "sliding_window": 64,
        "max_window_layers": 1,
        "tie_word_embeddings": True,
        **said,
    }
    groups = decoder_facts(make(tmp_path, config)).kv_groups
    assert [(group.layers, group.window) for group in groups] == (
        [((0,), None), ((1,), 64)] if used else [((0, 1), None)]
    )


def test_pictures_of_gemma_3_see_themselves_both_ways_in_every_layer(tmp_path: Path) -> None:
    facts = decoder_facts(
        make(tmp_path, {"model_type": "gemma3", "text_config": GEMMA, "vision_config": VISION})
    )
    assert [(group.layers, group.window) for group in facts.kv_groups] == [
        ((0, 1, 2), 5),
        ((3,), None),
    ]
    assert facts.span_layers == (0, 1, 2, 3)
    assert facts.tied


@pytest.mark.parametrize(("pictures", "spans"), [("vision", (0, 1, 2)), (None, ())])
def test_gemma_4_has_shapes_by_layer_and_spans_by_size(
    tmp_path: Path, pictures: str | None, spans: tuple[int, ...]
) -> None:
    """The full layers' heads are wider; pictures see themselves both ways in the large models'
    sliding layers only."""
    text = {
        **GEMMA,
        "global_head_dim": 16,
        "hidden_size_per_layer_input": 0 if pictures else 6,
        "vocab_size_per_layer_input": 96,
        "num_kv_shared_layers": 0,
        "use_bidirectional_attention": pictures,
        "enable_moe_block": False,
    }
    vision = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    facts = decoder_facts(
        make(
            tmp_path,
            {
                "model_type": "gemma4",
                "text_config": text,
                "vision_config": vision,
                "audio_config": None,
            },
        )
    )
    shapes = [(group.layers, group.key_dim, group.window) for group in facts.kv_groups]
    assert shapes == [((0, 1, 2), 8, 5), ((3,), 16, None)]
    assert facts.span_layers == spans
    assert facts.per_layer_width == (0 if pictures else 6)


def test_layers_that_read_anothers_keys_keep_none(tmp_path: Path) -> None:
    """Gemma 3n's and small Gemma 4's last ones: each reads the last of its kind that has keys of
    its own."""
    text = {
        **GEMMA,
        "num_hidden_layers": 6,
        "layer_types": ["sliding_attention", "full_attention"] * 3,
    }
    apart = {
        "hidden_size_per_layer_input": 6,
        "vocab_size_per_layer_input": 96,
        "global_head_dim": 16,
    }
    vision = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    read: dict[str, Any] = {"model_type": "gemma4", "vision_config": vision, "audio_config": None}
    facts = decoder_facts(
        make(tmp_path, {**read, "text_config": {**text, **apart, "num_kv_shared_layers": 2}})
    )
    assert [(group.layers, group.readers, group.window) for group in facts.kv_groups] == [
        ((0, 2), {4: 2}, 5),
        ((1, 3), {5: 3}, None),
    ]
    heads = facts.kv_groups[0].kv_heads
    assert facts.kv_bytes(4) == 2 * 2 * heads * (8 + 16) * 4


def test_tokens_that_are_looked_up_in_a_towers_table(tmp_path: Path) -> None:
    """Gemma 3n with its towers. Refused by its configuration alone: they need a library besides."""
    config = {
        "model_type": "gemma3n",
        "text_config": {"vocab_size": 96},
        "vision_config": {},
        "audio_config": {},
    }
    write(tmp_path, "config.json", config)
    write(tmp_path, "tokenizer.json", ENDS)
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert "'gemma3n' look up the tokens around their items in tables of their towers" in refusal(
        tmp_path
    )


def test_values_narrower_than_keys(tmp_path: Path) -> None:
    """DeepSeek's latent attention: keys of 8 + 4 columns, values of 8, one key head for each query
    head."""
    latent = {
        "q_lora_rank": 8,
        "kv_lora_rank": 8,
        "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 4,
        "v_head_dim": 8,
    }
    config = {
        "model_type": "deepseek_v3",
        **TEXT,
        **latent,
        "first_k_dense_replace": 2,
        "n_routed_experts": 8,
        "n_group": 1,
    }
    facts = decoder_facts(
        make(
            tmp_path,
            {**config, "topk_group": 1, "num_experts_per_tok": 2, "tie_word_embeddings": True},
        )
    )
    assert [
        (group.kv_heads, group.key_dim, group.value_dim, group.width) for group in facts.kv_groups
    ] == [(4, 12, 8, 12)]
    assert facts.kv_bytes(4) == 2 * 2 * 4 * 12 * 4


def test_layers_with_a_state(tmp_path: Path) -> None:
    """Qwen3.5: three of four layers keep a convolution's and a recurrent state in place of keys and
    values."""
    linear = {
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 6,
        "linear_conv_kernel_dim": 3,
    }
    text = {
        **TEXT,
        **linear,
        "num_hidden_layers": 4,
        "head_dim": 16,
        "rope_parameters": {"mrope_section": [1, 1, 0]},
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "num_heads": 2,
        "out_hidden_size": 32,
        "intermediate_size": 16,
    }
    config = {
        "model_type": "qwen3_5",
        "text_config": text,
        "vision_config": vision,
        "tie_word_embeddings": True,
    }
    facts = decoder_facts(make(tmp_path, config))
    assert facts.recurrent == (
        RecurrentGroup(layers=(0, 1, 2), conv=(2 * 2 * 8 + 4 * 6, 3), state=(4, 8, 6)),
    )
    assert [group.layers for group in facts.kv_groups] == [(3,)]
    assert facts.position_planes == 3


def test_rows_beside_the_embedding(tmp_path: Path) -> None:
    """Qwen3-VL's tower makes rows for two further layers."""
    vision = {
        "depth": 3,
        "hidden_size": 16,
        "num_heads": 2,
        "out_hidden_size": 32,
        "intermediate_size": 16,
        "deepstack_visual_indexes": [0, 1],
        "num_position_embeddings": 16,
    }
    text = {
        **TEXT,
        "head_dim": 8,
        "rope_scaling": {
            "rope_type": "default",
            "mrope_section": [1, 1, 2],
            "mrope_interleaved": True,
        },
    }
    facts = decoder_facts(
        make(
            tmp_path,
            {"model_type": "qwen3_vl", "text_config": text, "vision_config": vision},
            leave_out=(),
        )
    )
    assert (facts.deepstack_levels, facts.embed_width, facts.position_planes, facts.tied) == (
        2,
        96,
        3,
        False,
    )


def test_four_planes(tmp_path: Path) -> None:
    """HunyuanOCR counts pictures, too."""
    text = {
        **TEXT,
        "head_dim": 16,
        "rope_parameters": {"rope_type": "default", "xdrope_section": [2, 2, 2, 2]},
    }
    vision = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "out_hidden_size": 32,
    }
    config = {
        "model_type": "hunyuan_vl",
        "text_config": text,
        "vision_config": vision,
        "tie_word_embeddings": True,
    }
    assert decoder_facts(make(tmp_path, config)).position_planes == 4


@pytest.mark.parametrize(
    ("rope", "theta"),
    [
        ({"rope_theta": 5e4, "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}}, 5e4),
        (
            {
                "rope_theta": 5e4,
                "rope_scaling": {
                    "type": "default",
                    "rope_type": "default",
                    "mrope_section": [1, 1, 2],
                },
            },
            5e4,
        ),
        (
            {
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 5e4,
                    "mrope_section": [1, 1, 2],
                }
            },
            5e4,
        ),
        (
            {
                "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]},
                "rope_theta": 5e4,
            },
            5e4,
        ),
    ],
)
def test_rope_in_every_spelling(tmp_path: Path, rope: dict[str, Any], theta: float) -> None:
    text = {key: value for key, value in TEXT.items() if key != "rope_theta"} | rope
    vision = {"depth": 1, "embed_dim": 16, "num_heads": 2, "hidden_size": 32}
    folder = make(
        tmp_path,
        {"model_type": "qwen2_vl", "vision_config": vision, "tie_word_embeddings": True, **text},
    )
    assert decoder_facts(folder).position_planes == 3
    assert build_on_meta(folder).config.text_config.rope_parameters["rope_theta"] == theta


@pytest.mark.parametrize("kind", ["su", "longrope", "dynamic", "yarn", "llama3", "linear"])
def test_ropes_that_look_at_lengths_are_measured_too(tmp_path: Path, kind: str) -> None:
    scaling: dict[str, Any] = {"type" if kind == "su" else "rope_type": kind, "factor": 2.0}
    if kind in ("su", "longrope"):
        scaling = {"type": kind, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
    if kind == "llama3":
        scaling |= {
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 128,
        }
    model = "phi3" if kind in ("su", "longrope") else "llama"
    config = {
        "model_type": model,
        **TEXT,
        "rope_scaling": scaling,
        "tie_word_embeddings": True,
        "pad_token_id": 0,
    }
    facts = decoder_facts(make(tmp_path, {**config, "original_max_position_embeddings": 128}))
    assert [(group.kv_heads, group.key_dim) for group in facts.kv_groups] == [(2, 8)]
    assert facts.context == 777


@pytest.mark.parametrize("tied", [None, False, True])
def test_a_stored_head_is_the_head(tmp_path: Path, tied: bool | None) -> None:
    """Mistral-Small and PaddleOCR-VL store one under classes that say tied."""
    said = {} if tied is None else {"tie_word_embeddings": tied}
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = {
        "model_type": "paddleocr_vl",
        "vision_config": vision,
        **TEXT,
        **MROPE,
        "head_dim": 8,
        **said,
    }
    assert not decoder_facts(make(tmp_path, config, leave_out=())).tied


@pytest.mark.parametrize("top", [None, False, True])
@pytest.mark.parametrize("text", [None, False, True])
def test_without_a_head_either_part_may_say_tied(
    tmp_path: Path, top: bool | None, text: bool | None
) -> None:
    """Qwen2-VL-2B says it at its top, earlier transformers in the text part; none: it is not whole,
    or an embedding model."""
    outer = {} if top is None else {"tie_word_embeddings": top}
    inner = {} if text is None else {"tie_word_embeddings": text}
    vision = {"depth": 1, "embed_dim": 16, "num_heads": 2, "hidden_size": 32}
    part = {**TEXT, **MROPE, **inner}
    folder = make(
        tmp_path, {"model_type": "qwen2_vl", "text_config": part, "vision_config": vision, **outer}
    )
    if top or text:
        assert decoder_facts(folder).tied
    else:
        assert "stores no head (such as lm_head.weight)" in refusal(folder, "generate")
        assert decoder_facts(folder).output == "vector"


def test_a_talker_s_head_is_not_the_model_s(tmp_path: Path) -> None:
    folder = make(tmp_path, {**QWEN, "tie_word_embeddings": True})
    save_file(
        {"talker.lm_head.weight": torch.zeros(1), "mtp.lm_head.weight": torch.zeros(1)},
        folder / "other.safetensors",
    )
    assert decoder_facts(folder).tied


def test_ends_are_those_of_all_places(tmp_path: Path) -> None:
    """As numbers and lists; a thinker's, its text part's, and the one that the tokenizer alone
    names; none twice."""
    thinker = {
        "model_type": "qwen2_5_omni_thinker",
        "eos_token_id": 3,
        "vision_start_token_id": 60,
        "audio_start_token_id": 61,
        "text_config": {**TEXT, **MROPE, "eos_token_id": [4, 95]},
        "vision_config": {
            "depth": 1,
            "hidden_size": 16,
            "num_heads": 2,
            "intermediate_size": 16,
            "out_hidden_size": 32,
        },
        "audio_config": {
            "encoder_layers": 1,
            "d_model": 16,
            "encoder_attention_heads": 2,
            "output_dim": 32,
            "encoder_ffn_dim": 16,
        },
    }
    config = {
        "model_type": "qwen2_5_omni",
        "thinker_config": thinker,
        "talker_config": {"eos_token_id": 50},
    }
    folder = make(tmp_path, config, leave_out=(), ends=None)
    assert decoder_facts(folder).eos_token_ids == (3, 4, 95)
    write(folder, "generation_config.json", {"eos_token_id": [5, 3]})
    write(folder, "tokenizer_config.json", {"eos_token": {"content": "<end>"}})
    assert decoder_facts(folder).eos_token_ids == (5, 3, 4, 95, 7)
    write(folder, "tokenizer_config.json", {})
    write(folder, "special_tokens_map.json", {"eos_token": "<pad>"})
    assert decoder_facts(folder).eos_token_ids == (5, 3, 4, 95, 9)


def test_a_model_without_an_end_is_refused(tmp_path: Path) -> None:
    """None at all, and none that it can say: a padded or cut vocabulary."""
    folder = make(tmp_path, {**QWEN, "tie_word_embeddings": True}, ends=None)
    assert "no end token" in refusal(folder)
    write(folder, "generation_config.json", {"eos_token_id": [96, -1]})
    assert "no end token" in refusal(folder)
    write(folder, "generation_config.json", {"eos_token_id": [96, 95]})
    assert decoder_facts(folder).eos_token_ids == (95,)
    write(folder, "generation_config.json", {"eos_token_id": "7"})
    assert "no token id: '7'" in refusal(folder)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ({}, {"dtype": "float16"}),
        ({"torch_dtype": "float16"}, {}),
        ({"dtype": "torch.float16"}, {"dtype": "float32"}),
        ({}, {}),
    ],
)
def test_the_dtype_is_said_at_the_top_or_of_the_text_or_by_the_weights(
    tmp_path: Path, model: dict[str, Any], text: dict[str, Any]
) -> None:
    part = {"model_type": "llama", **TEXT, **text}
    config = {
        "model_type": "llava",
        "text_config": part,
        "vision_config": VISION,
        "tie_word_embeddings": True,
        **model,
    }
    facts = decoder_facts(make(tmp_path, config, dtype=torch.bfloat16))
    assert facts.dtype == ("float16" if model or text else "bfloat16")


def test_a_vocabulary_that_is_padded_beyond_the_tokenizer_s(tmp_path: Path) -> None:
    """The head scores tokens that no tokenizer knows; a placeholder may even lie outside of it."""
    config = {
        "model_type": "llava",
        "text_config": {"model_type": "llama", **TEXT},
        "vision_config": VISION,
        "image_token_index": 200,
    }
    assert decoder_facts(make(tmp_path, {**config, "tie_word_embeddings": True})).vocab == 96


def test_layers_that_read_another_sequence_are_refused_by_name(tmp_path: Path) -> None:
    text = {**TEXT, "num_hidden_layers": 3, "cross_attention_layers": [1], "pad_token_id": 0}
    vision = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_global_layers": 1,
        "attention_heads": 2,
        "vision_output_dim": 32,
    }
    folder = make(
        tmp_path,
        {"model_type": "mllama", "text_config": text, "vision_config": vision},
        leave_out=(),
    )
    assert "'mllama'" in refusal(folder)
    assert "layer 1" in refusal(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 0},
        {"num_attention_heads": 0},
        {"num_attention_heads": -2},
        {"hidden_size": "many"},
        {"vocab_size": -1},
    ],
)
def test_impossible_numbers_are_refused_with_a_sentence(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = make(tmp_path, {"model_type": "llama", **TEXT, "tie_word_embeddings": True})
    write(
        folder,
        "config.json",
        {"model_type": "llama", **TEXT, "tie_word_embeddings": True, **changes},
    )
    assert "config.json" in refusal(folder) or "not supported" in refusal(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 10**9},
        {"vocab_size": 10**12},
        {"head_dim": 10**8},
        {"intermediate_size": 10**12},
    ],
)
def test_sizes_that_the_weights_do_not_have_are_refused_before_anything_is_loaded(
    tmp_path: Path, changes: Any
) -> None:
    folder = make(tmp_path, {"model_type": "llama", **TEXT, "tie_word_embeddings": True})
    write(
        folder,
        "config.json",
        {"model_type": "llama", **TEXT, "tie_word_embeddings": True, **changes},
    )
    assert "its config.json asks for" in refusal(folder)


def test_layers_that_the_weights_have_and_the_configuration_has_not_are_named(
    tmp_path: Path,
) -> None:
    """transformers warns and answers as another model."""
    config = {"model_type": "llama", **TEXT, "tie_word_embeddings": True}
    folder = make(tmp_path, {**config, "num_hidden_layers": 4})
    write(folder, "config.json", {**config, "num_hidden_layers": 3})
    assert (
        "holds the weight model.layers.3.input_layernorm.weight, which a model of its config.json"
        in refusal(folder)
    )


@pytest.mark.parametrize("context", [-1, 10**15])
def test_a_context_that_no_prompt_fits_into_or_no_engine_counts_to_is_refused(
    tmp_path: Path, context: int
) -> None:
    folder = make(
        tmp_path,
        {
            "model_type": "llama",
            **TEXT,
            "tie_word_embeddings": True,
            "max_position_embeddings": context,
        },
    )
    assert f"max_position_embeddings={context}" in refusal(folder)


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_that_shows_nothing_is_refused(tmp_path: Path, window: int) -> None:
    folder = make(
        tmp_path,
        {"model_type": "mistral", **TEXT, "tie_word_embeddings": True, "sliding_window": window},
    )
    assert f"a window of {window} tokens" in refusal(folder)


@pytest.mark.parametrize("names", ["mistral3", "lighton_ocr"])
def test_where_type_and_class_disagree_the_weights_decide(tmp_path: Path, names: str) -> None:
    """LightOnOCR-2 was published with the names of either."""
    vision = {
        "model_type": "pixtral",
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 8,
        "intermediate_size": 16,
    }
    config = {
        "text_config": {"model_type": "qwen3", **TEXT, "head_dim": 8},
        "vision_config": vision,
        "tie_word_embeddings": True,
    }
    make(tmp_path, {"model_type": names, **config})
    write(
        tmp_path,
        "config.json",
        {
            "model_type": "mistral3",
            "architectures": ["LightOnOCRForConditionalGeneration"],
            **config,
        },
    )
    assert load_config(tmp_path).model_type == names
    assert decoder_facts(tmp_path).model_type == "mistral3"


def test_weights_that_are_not_there_are_named_before_anything_is_loaded(tmp_path: Path) -> None:
    gone = ("model.layers.1.mlp.up_proj.weight", "model.norm.weight")
    text = refusal(make(tmp_path, {**QWEN, "tie_word_embeddings": True}, leave_out=gone))
    assert f"lacks the weight {gone[0]} (2 such weights)" in text
