"""Any model of transformers over our attention: what its layers ask for is done, whole and in
pieces, alone and in company."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from thespis.gpu_runtime.adapter.attention import tell_layers
from thespis.gpu_runtime.adapter.rope import fix_lengths
from thespis.gpu_runtime.adapter.towers import find_towers
from thespis.gpu_runtime.inspection.hf import build_on_meta
from thespis.gpu_runtime.runner.runner import Runner
from thespis.protocol.facts import PlaceholderFacts
from thespis.protocol.requests.request import MODALITIES
from thespis.protocol.requests.sampling import SamplingParams

from ...zoo.catalog import animal
from ..driving import Driver, Prompt
from ..tiny import TEXT, assert_equal, facts_of, make, prompt_of, runner_for

tf: Any = transformers
MOE = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
MLA = {
    **MOE,
    "num_key_value_heads": 4,
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 8,
    "head_dim": 8,
}
DEEPSEEK = {**MLA, "n_routed_experts": 4, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1}
GEMMA4 = {
    "sliding_window": 8,
    "global_head_dim": 32,
    "num_global_key_value_heads": 1,
    "enable_moe_block": False,
}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 8,
    "long_factor": [4.0] * 8,
    "original_max_position_embeddings": 24,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "softcaps, scaled embeddings and a window in every other layer": (
        "Gemma2",
        {
            "final_logit_softcapping": 3.0,
            "attn_logit_softcapping": 5.0,
            "sliding_window": 8,
            "query_pre_attn_scalar": 16,
        },
    ),
    "sinks": ("GptOss", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8}),
    "scaled logits": (
        "Granite",
        {"logits_scaling": 4.0, "embedding_multiplier": 3.0, "residual_multiplier": 0.5},
    ),
    "values narrower than keys": (
        "DeepseekV3",
        {**DEEPSEEK, "qk_nope_head_dim": 16, "v_head_dim": 16},
    ),
    "values wider than keys": ("DeepseekV3", {**DEEPSEEK, "qk_nope_head_dim": 8, "v_head_dim": 24}),
    "no keywords for its attention": ("StableLm", {}),
    "layers of two shapes, and inputs of each layer's own": (
        "Gemma4",
        {
            **GEMMA4,
            "num_hidden_layers": 12,
            "hidden_size_per_layer_input": 16,
            "num_kv_shared_layers": 6,
        }
        | {"vocab_size_per_layer_input": TEXT["vocab_size"]},
    ),
    "frequencies by the prompt's length, with short and long prompts in one batch": (
        "Phi3",
        {
            "rope_parameters": LONGROPE,
            "original_max_position_embeddings": 24,
            "partial_rotary_factor": 1.0,
        },
    ),
}


def config_of(family: str, **changes: Any) -> Any:
    kind = getattr(tf, f"{family}TextConfig", None) or getattr(tf, f"{family}Config")
    return kind(**{**TEXT, **changes})


@pytest.mark.parametrize("what", MODELS)
def test_it_says_what_generate_says(what: str, tmp_path: Path) -> None:
    family, changes = MODELS[what]
    model = make(getattr(tf, f"{family}ForCausalLM"), config_of(family, **changes), tmp_path)
    assert_equal(model, tmp_path)


def logprobs(runner: Runner, prompt: Prompt, piece: int) -> torch.Tensor:
    """Of every token of a prompt but the first, computed in pieces beside a text that is one token
    ahead."""
    driver = Driver(runner)
    beside, one = (
        driver.start(Prompt(prompt_of(len(prompt.token_ids) + 1, 9))),
        driver.start(prompt),
    )
    driver.step([(beside, 1)])
    found: list[float] = []
    while one.computed < len(prompt.token_ids):
        count = min(piece, len(prompt.token_ids) - one.computed)
        result = driver.step([(beside, count), (one, count)], SamplingParams(prompt_logprobs=0))
        assert not result.faults
        found += [
            entry.logprob
            for part in result.prompt_logprobs
            if part.seq == one.seq
            for entry in part.entries
        ]
    return torch.tensor(found)


def expected(model: Any, embeds: torch.Tensor, ids: list[int], **how: Any) -> torch.Tensor:
    """The same by the decoder of transformers, in one piece."""
    with torch.inference_mode():
        hidden = model.get_decoder()(
            inputs_embeds=embeds[None], use_cache=False, **how
        ).last_hidden_state
        table: torch.Tensor = model.get_output_embeddings()(hidden)[0].float().log_softmax(-1)
    return table[:-1].gather(-1, torch.tensor(ids)[1:, None])[:, 0]


VISION = {
    "depth": 2,
    "hidden_size": 32,
    "num_heads": 2,
    "intermediate_size": 48,
    "out_hidden_size": 64,
}


def qwen3_vl(folder: Path) -> Any:
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    vision = {**VISION, "num_position_embeddings": 256, "deepstack_visual_indexes": [0, 1]}
    config = tf.Qwen3VLConfig(text_config={**TEXT, "rope_parameters": rope}, vision_config=vision)
    return make(tf.Qwen3VLForConditionalGeneration, config, folder)


@pytest.mark.parametrize("piece", [100, 5, 1])
def test_rows_of_further_layers_go_where_the_item_is(piece: int, tmp_path: Path) -> None:
    """Three planes, and items whose rows are three times as wide as the model."""
    model = qwen3_vl(tmp_path)
    facts = facts_of(tmp_path)
    assert facts.embed_width == 3 * 64
    ids, (first, second) = prompt_of(30), (slice(4, 13), slice(17, 21))
    wide = torch.randn(13, facts.embed_width, generator=torch.Generator().manual_seed(1))
    positions = torch.randint(0, 40, (3, 30), generator=torch.Generator().manual_seed(2))
    embeds = model.get_input_embeddings()(torch.tensor(ids)).detach()
    embeds[first], embeds[second] = wide[:9, :64], wide[9:, :64]
    mask = torch.zeros(1, 30, dtype=torch.bool)
    mask[0, first] = mask[0, second] = True
    deep = [wide[:, 64:128], wide[:, 128:]]
    wanted = expected(
        model,
        embeds,
        ids,
        position_ids=positions[:, None],
        visual_pos_masks=mask,
        deepstack_visual_embeds=deep,
    )
    prompt = Prompt(
        ids, positions.numpy().astype("<i4").tobytes(), 0, [(4, wide[:9]), (17, wide[9:])]
    )
    torch.testing.assert_close(
        logprobs(runner_for(facts), prompt, piece), wanted, atol=1e-4, rtol=0
    )


def test_four_planes_are_four(tmp_path: Path) -> None:
    rope = {
        "rope_type": "dynamic",
        "factor": 1.0,
        "alpha": 1000.0,
        "rope_theta": 10000.0,
        "xdrope_section": [2, 2, 2, 2],
    }
    vision = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
    }
    vision |= {
        "image_size": 56,
        "patch_size": 14,
        "out_hidden_size": 64,
        "max_image_size": 56,
        "text_hidden_size": 64,
    }
    text = {**TEXT, "rope_parameters": {**rope, "mrope_section": [2, 2, 2, 2]}}
    model = make(
        tf.HunYuanVLForConditionalGeneration,
        tf.HunYuanVLConfig(text_config=text, vision_config=vision),
        tmp_path,
    )
    ids = prompt_of(20)
    positions = torch.randint(0, 20, (4, 20), generator=torch.Generator().manual_seed(2))
    embeds = model.get_input_embeddings()(torch.tensor(ids)).detach()
    wanted = expected(model, embeds, ids, position_ids=positions[:, None])
    facts = facts_of(tmp_path)
    assert facts.position_planes == 4
    for piece in (100, 5):
        found = logprobs(
            runner_for(facts), Prompt(ids, positions.numpy().astype("<i4").tobytes()), piece
        )
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_frequencies_that_grow_with_a_prompt_are_those_of_each_prompt_alone() -> None:
    config = config_of(
        "Llama", max_position_embeddings=32, rope_parameters={"rope_type": "dynamic", "factor": 2.0}
    )
    config.rope_parameters["rope_theta"] = 10000.0
    decoder = tf.LlamaModel(config)
    lengths = [20, 40, 64, 20]
    wanted = []
    for length in lengths:
        wanted.append(
            tf.LlamaModel(config).rotary_emb(torch.zeros(1), torch.arange(length)[None])[0][0]
        )
    assert not torch.allclose(wanted[1][5], wanted[2][5])
    (rope,) = fix_lengths(decoder)
    flat = torch.cat([torch.arange(length) for length in lengths])
    rope.begin(torch.tensor(lengths).repeat_interleave(torch.tensor(lengths)).numpy())
    cos, _ = decoder.rotary_emb(torch.zeros(1), flat[None])
    torch.testing.assert_close(cos[0], torch.cat(wanted))
    rope.begin(torch.full((3,), 64).numpy())  # a later step of one of them
    cos, _ = decoder.rotary_emb(torch.zeros(1), torch.tensor([[5, 6, 70]]))
    torch.testing.assert_close(cos[0, :2], wanted[2][5:7])


def test_each_kind_of_layer_has_its_own_frequencies() -> None:
    """Those of the first kind that is asked for must not stand for those of a kind that grows with
    lengths."""
    kinds = ["sliding_attention", "full_attention"]
    ropes: dict[str, dict[str, Any]] = {
        kinds[0]: {"rope_type": "default"},
        kinds[1]: {"rope_type": "dynamic", "factor": 4.0},
    }
    ropes = {kind: {**rope, "rope_theta": 10000.0} for kind, rope in ropes.items()}
    changes = {
        "num_hidden_layers": 2,
        "layer_types": kinds,
        "max_position_embeddings": 32,
        "rope_parameters": ropes,
    }
    config = tf.Gemma3TextConfig(**{**TEXT, **changes})
    decoder, own = tf.Gemma3TextModel(config), tf.Gemma3TextModel(config).rotary_emb
    (rope,) = fix_lengths(decoder)
    rope.begin(np.full(100, 100))
    for kind in kinds:
        given = torch.zeros(1), torch.arange(100)[None]
        torch.testing.assert_close(
            rope(*given, layer_type=kind)[0], own(*given, layer_type=kind)[0]
        )


class Foreign(torch.nn.Module):
    forward = max  # of which nobody can say what it takes


def test_parts_that_are_no_layers_are_not_asked_what_they_take() -> None:
    """Of an expert's matrices there are thousands, and to ask each took its share of a start."""
    tell_layers(torch.nn.Sequential(Foreign()))


def test_towers_lie_beside_the_decoder(tmp_path: Path) -> None:
    whole = build_on_meta(qwen3_vl(tmp_path).config)
    found = find_towers(whole, MODALITIES)
    assert found.roots == ["model"]
    assert found.without[0] == "model.language_model"
    with pytest.raises(ValueError, match="no tower for kind 'audio'"):
        found.encoder("audio")
    with pytest.raises(ValueError, match="does not take pixels"):
        found.encoder("image")({"pixels": torch.zeros(1)}, 1)


@pytest.mark.parametrize("frames", [9, 10, 101, 102])
def test_rows_of_a_sound_that_its_tower_calls_filling_are_left_out(frames: int) -> None:
    """As Gemma 4's own forward does; a sound of 16,160 samples has 101 frames, the last one half
    filled."""
    config = tf.AutoConfig.for_model(**animal("gemma4_e").config)
    whole = tf.Gemma4ForConditionalGeneration._from_config(config, dtype=torch.float32).eval()
    sound = torch.randn(1, frames, 128, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(1, frames, dtype=torch.bool)
    mask[0, -1] = False
    with torch.inference_mode():
        given = {"input_features": sound, "input_features_mask": mask}
        own = whole.model.get_audio_features(**given, return_dict=True)
        (rows,) = find_towers(whole, ["audio"]).encoder("audio")(given, 0)
    torch.testing.assert_close(rows, own.pooler_output[own.attention_mask])
    assert len(rows) == -(-(frames - 1) // 4)


def test_a_placeholder_beyond_the_table_is_never_looked_up(tmp_path: Path) -> None:
    model = make(tf.LlamaForCausalLM, config_of("Llama"), tmp_path)
    beyond = TEXT["vocab_size"] + 7
    mark = PlaceholderFacts(
        token="<audio>", text="<audio>", embed_token="<audio>", embed_token_id=beyond
    )
    rows = torch.randn(4, 64, generator=torch.Generator().manual_seed(1))
    ids = [*prompt_of(5), *[beyond] * 4, *prompt_of(6, 1)]
    known = [min(token, TEXT["vocab_size"] - 1) for token in ids]
    embeds = model.get_input_embeddings()(torch.tensor(known)).detach()
    embeds[5:9] = rows
    wanted = expected(model, embeds, known)
    runner = runner_for(facts_of(tmp_path, placeholders={"audio": mark}), fused=False)
    found = logprobs(runner, Prompt(ids, embeds=[(5, rows)]), 4)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    driver = Driver(runner)
    assert driver.step([(driver.start(Prompt([1, beyond + 1])), 2)]).faults
    penalised = SamplingParams(temperature=0.0, repetition_penalty=1.2)
    assert (
        len(driver.finish(driver.start(Prompt(ids, embeds=[(5, rows)])), 3, sampling=penalised))
        == 3
    )
