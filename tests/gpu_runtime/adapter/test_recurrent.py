"""Layers with a state: each family's own logits, whole and in pieces, beside others; what it cannot
do is refused by name.

The self-check is the comparison: it runs at every load, and compares logits of a prompt computed
whole, and in a chunk, a later chunk and single tokens beside it, in slots that hold another
sequence's states.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import transformers

from thespis.gpu_runtime.adapter import recurrent
from thespis.gpu_runtime.models.language_model import load_language_model
from thespis.protocol.edges.gpu_runner_to_scheduler import Sampled
from thespis.protocol.errors import EngineError
from thespis.protocol.facts import ModelFacts
from thespis.protocol.requests.sampling import SamplingParams

from ..driving import Driver, Prompt
from ..tiny import OUTPUT, TEXT, facts_of, make, prompt_of, runner_for

tf: Any = transformers
DELTA = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
}
EXPERTS = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
}
MROPE = {
    "rope_type": "default",
    "rope_theta": 10000.0,
    "mrope_section": [1, 1, 0],
    "partial_rotary_factor": 0.25,
}
MAMBA = {
    "mamba_n_heads": 8,
    "mamba_d_head": 16,
    "mamba_d_state": 16,
    "mamba_n_groups": 2,
    "mamba_chunk_size": 8,
}
SCORED = SamplingParams(temperature=0.0, logprobs=5)
CONV = ["conv", "full_attention", "conv"]
FAMILIES: dict[str, dict[str, Any]] = {
    "Lfm2": {"layer_types": CONV},
    "Lfm3": {"layer_types": ["conv", "full_attention", "sliding_attention"], "sliding_window": 4},
    "Qwen3Next": {**DELTA, **EXPERTS, "num_hidden_layers": 4},
    "Qwen3_5": {**DELTA, "num_hidden_layers": 4, "rope_parameters": MROPE},
    "Qwen3_5Moe": {**DELTA, **EXPERTS, "num_hidden_layers": 4, "rope_parameters": MROPE},
    "OlmoHybrid": {**DELTA, "num_hidden_layers": 4},
    "Mamba": {"state_size": 16},
    "FalconMamba": {"state_size": 16},
    "Jamba": {"mamba_d_state": 16, "attn_layer_offset": 1, "num_experts": 4},
    "Zamba": {
        "layers_block_type": ["hybrid", "mamba", "hybrid"],
        "mamba_d_state": 16,
        "n_mamba_heads": 2,
    }
    | {"attention_hidden_size": 128, "attention_head_dim": 32},
    "KimiLinear": {
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "kv_lora_rank": 32,
    }
    | {
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 16,
        "v_head_dim": 16,
        "linear_head_dim": 16,
        "linear_num_heads": 4,
    },
    "Mamba2": {"num_heads": 8, "head_dim": 16, "state_size": 16, "n_groups": 2, "chunk_size": 8},
    "FalconH1": {
        **MAMBA,
        "mamba_d_ssm": 128,
        "lm_head_multiplier": 0.5,
        "embedding_multiplier": 3.0,
    },
    "Bamba": {**MAMBA, "attn_layer_indices": [1]},
    "NemotronH": {
        "hybrid_override_pattern": "M*-",
        "mamba_num_heads": 8,
        "mamba_head_dim": 16,
        "ssm_state_size": 16,
    },
    "Zamba2": {
        "layers_block_type": ["hybrid", "mamba", "hybrid"],
        "mamba_headdim": 16,
        "mamba_d_state": 16,
    }
    | {"num_mem_blocks": 1, "attention_head_dim": 32, "use_mem_rope": True},
}

STEPS = (0.8, 1.2)
LIMITED: dict[str, dict[str, Any]] = {
    "Mamba2": {**FAMILIES["Mamba2"], "time_step_limit": STEPS},
    "FalconH1": {**FAMILIES["FalconH1"], "time_step_limit": STEPS},
    "Bamba": {**FAMILIES["Bamba"], "time_step_limit": STEPS},
    "GraniteMoeHybrid": {
        **MAMBA,
        "time_step_limit": STEPS,
        "layer_types": ["mamba", "attention", "mamba"],
    }
    | {"num_local_experts": 2, "num_experts_per_tok": 1, "shared_intermediate_size": 32},
    "NemotronH": {**FAMILIES["NemotronH"], "time_step_min": STEPS[0]},
    "Zamba2": {**FAMILIES["Zamba2"], "time_step_min": STEPS[0]},
}
"""Time steps within bounds that change most."""


def tiny(family: str, folder: Path, **changes: Any) -> ModelFacts:
    kind = getattr(tf, f"{family}TextConfig", None) or getattr(tf, f"{family}Config")
    config = kind(**{**TEXT, "chunk_size": 8, "n_groups": 2, **changes})
    make(getattr(tf, f"{family}ForCausalLM"), config, folder)
    facts = facts_of(folder, context=512)
    assert facts.recurrent
    return facts


def load(facts: ModelFacts, dtype: torch.dtype = torch.float32) -> None:
    load_language_model(facts, dtype, torch.device("cpu"))


@pytest.mark.parametrize("family", FAMILIES)
def test_its_logits_are_its_own(family: str, tmp_path: Path) -> None:
    load(tiny(family, tmp_path, **FAMILIES[family]))


@pytest.mark.parametrize("family", ["Qwen3_5", "Mamba", "Mamba2", "Lfm2"])
def test_states_stay_wide_where_the_model_is_narrow(family: str, tmp_path: Path) -> None:
    load(tiny(family, tmp_path, **FAMILIES[family]), torch.bfloat16)


@pytest.mark.parametrize("family", LIMITED)
def test_steps_are_limited_in_a_prompt_and_not_in_an_answer(family: str, tmp_path: Path) -> None:
    """As transformers has it, however they are computed: token by token, in pieces, and an answer
    anew behind its prompt."""
    facts = tiny(family, tmp_path, **LIMITED[family])
    assert facts.answers_apart
    model = getattr(tf, f"{family}ForCausalLM").from_pretrained(tmp_path).eval()
    prompts = [prompt_of(length, length) for length in (1, 2, 7, 21)]
    said = [_Said(model, prompt) for prompt in prompts]
    for piece in (1, 3, 100):
        check_in_pieces(Driver(runner_for(facts)), prompts, said, piece)


def check_in_pieces(
    driver: Driver, prompts: list[list[int]], said: list["_Said"], piece: int
) -> None:
    running = [driver.start(Prompt(prompt)) for prompt in prompts]
    for again in (4, OUTPUT):
        while left := [place for place, one in enumerate(running) if len(one.output) < again]:
            works = [
                (running[place], min(piece, len(running[place].tokens) - running[place].computed))
                for place in left
            ]
            for one in driver.step(works, SCORED).sampled:
                place = next(place for place in left if running[place].seq == one.seq)
                said[place].check(one, len(running[place].output) - 1)
        running = [driver.preempt(one) for one in running]


class _Said:
    """What transformers says to one prompt alone."""

    def __init__(self, model: Any, token_ids: list[int]) -> None:
        ids = torch.tensor([token_ids])
        how = {
            "do_sample": False,
            "eos_token_id": None,
            "output_logits": True,
            "return_dict_in_generate": True,
        }
        with torch.inference_mode():
            made = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=OUTPUT, **how
            )
        self._ids = made.sequences[0, len(token_ids) :].tolist()
        self._scores = [logits[0].log_softmax(-1) for logits in made.logits]

    def check(self, one: Sampled, place: int) -> None:
        assert one.token_id == self._ids[place]
        assert one.logprobs is not None
        assert (
            max(abs(value - float(self._scores[place][token])) for token, value in one.logprobs.top)
            < 1e-4
        )


def test_steps_that_no_bound_changes_are_the_same_in_both(tmp_path: Path) -> None:
    assert not tiny("Mamba2", tmp_path, **FAMILIES["Mamba2"]).answers_apart


def test_a_state_of_another_sequence_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrent, "_gather", lambda store, part: store.index_select(0, part.slots))
    with pytest.raises(EngineError, match="computed whole differ from its own"):
        load(tiny("Qwen3_5", tmp_path, **FAMILIES["Qwen3_5"]))


def test_layers_that_cannot_go_on_from_a_state_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of the first Mamba are, whose scan in transformers begins with zeros."""
    monkeypatch.setattr(recurrent, "called", lambda module, name: None)
    with pytest.raises(
        EngineError,
        match=r"MambaForCausalLM \(mamba\) cannot be run here: .* computed in pieces differ",
    ):
        load(tiny("Mamba", tmp_path, **FAMILIES["Mamba"]))


def test_a_layer_whose_state_is_not_found_is_refused(tmp_path: Path) -> None:
    facts = tiny("Lfm2", tmp_path, **FAMILIES["Lfm2"])
    attending = tuple(msgspec.structs.replace(group, layers=(1,)) for group in facts.recurrent)
    with pytest.raises(
        EngineError, match="its layer 1 keeps a state of an unknown kind, which is not built"
    ):
        load(msgspec.structs.replace(facts, recurrent=attending))
