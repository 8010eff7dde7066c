"""A model that would be another one here is refused when it is loaded, in words that name the
reason and the layer."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AttentionInterface

from thespis.gpu_runtime.adapter import attention as ours
from thespis.gpu_runtime.adapter.attention import Unsupported
from thespis.gpu_runtime.attention.paged import PagedAttention
from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.layers.how import How
from thespis.gpu_runtime.layers.int8 import Int8
from thespis.gpu_runtime.layers.product import usable_product
from thespis.gpu_runtime.memory.kv_pool import KvPool
from thespis.gpu_runtime.models.fused import FusedDecoder
from thespis.gpu_runtime.models.language_model import load_language_model
from thespis.protocol.errors import EngineError
from thespis.protocol.facts import KvGroup, KvTable, ModelFacts

from ...zoo.catalog import Zoo
from ..tiny import TEXT, facts_of, make

tf: Any = transformers
CPU = torch.device("cpu")


def load(facts: ModelFacts, fused: bool = False) -> None:
    load_language_model(facts, torch.float32, CPU, fused)


def tiny(folder: Path, family: str = "Llama", **changes: Any) -> ModelFacts:
    kind = getattr(tf, f"{family}TextConfig", None) or getattr(tf, f"{family}Config")
    make(getattr(tf, f"{family}ForCausalLM"), kind(**{**TEXT, **changes}), folder)
    return facts_of(folder)


def test_a_layer_that_never_calls_our_attention(tmp_path: Path) -> None:
    facts = tiny(tmp_path)
    (group,) = facts.kv_groups
    more = msgspec.structs.replace(
        facts, kv_groups=(msgspec.structs.replace(group, layers=(0, 1, 2, 3)),)
    )
    with pytest.raises(
        EngineError,
        match=r"LlamaForCausalLM \(llama\) cannot be run here: its layer 3 calls .* 0 times in 4",
    ):
        load(more)


def test_what_is_lost_on_the_way_shows_in_the_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keyword that nobody looks at: here the cap of the scores."""
    facts = tiny(tmp_path, "Gemma2", attn_logit_softcapping=2.0, query_pre_attn_scalar=4)
    load(facts)
    monkeypatch.setattr(ours, "How", lambda scale, window, softcap, sinks: How(scale, window))
    with pytest.raises(
        EngineError, match="its logits for a prompt computed whole differ from its own by"
    ):
        load(facts)


def test_numbers_beside_an_outlier_that_eight_bits_round_are_not_taken_for_another_model(
    tmp_path: Path,
) -> None:
    """As of many published models: one number of every row is a thousand times the others."""
    facts = tiny(tmp_path, hidden_size=64, tie_word_embeddings=False)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.norm.weight"][0] = 1000
    weights["lm_head.weight"][:, 0] = 0  # else it alone decides
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    load(facts)
    load_language_model(facts, torch.float32, CPU, hold=Int8(usable_product()))


def test_so_does_what_is_wrong_in_later_pieces_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tiny(tmp_path)
    prefill = PagedAttention._prefill

    def forgetful(
        self: PagedAttention, layer: int, query: Any, kv: Any, chunk: Any, how: How
    ) -> torch.Tensor:
        chunk.start = 0
        out: torch.Tensor = prefill(self, layer, query, kv, chunk, how)
        return out

    monkeypatch.setattr(PagedAttention, "_prefill", forgetful)
    with pytest.raises(EngineError, match="its logits for a prompt computed in pieces differ"):
        load(facts)


def test_a_plane_of_positions_that_turns_nothing_shows(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of text alone all planes are the same."""
    facts = model_facts(zoo("qwen2_vl"))
    load(facts, fused=True)
    turn = FusedDecoder._turn
    monkeypatch.setattr(
        FusedDecoder, "_turn", lambda self, positions: turn(self, positions[:1].expand(3, -1))
    )
    with pytest.raises(
        EngineError, match="its logits for a prompt computed whole differ from its own by"
    ):
        load(facts, fused=True)


def test_what_our_attention_does_not_do_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tiny(tmp_path)
    plain: Any = ours.attention

    def asking(module: Any, *tensors: Any, **given: Any) -> Any:
        return plain(
            module, *tensors, **given, **({"position_bias": 1} if module.layer_idx == 1 else {})
        )

    monkeypatch.setitem(AttentionInterface._global_mapping, ours.NAME, asking)
    with pytest.raises(
        EngineError, match="its layer 1 gives its attention 'position_bias', which is not built"
    ):
        load(facts)


def test_a_mask_of_another_kind_is_found_though_no_short_prompt_shows_it(tmp_path: Path) -> None:
    changes = {
        "num_local_experts": 4,
        "num_experts_per_tok": 1,
        "intermediate_size_mlp": 96,
        "interleave_moe_layer_step": 1,
    }
    facts = tiny(tmp_path, "Llama4", attention_chunk_size=64, **changes)
    with pytest.raises(
        EngineError, match="the mask of its layer 0 is neither causal nor the window"
    ):
        load(facts)
    load(msgspec.structs.replace(facts, context=64))  # within one chunk it is causal


def test_a_layer_that_looks_back_otherwise_than_the_facts_say(tmp_path: Path) -> None:
    """Twelve tokens reach no edge of a window: the logits cannot show it."""
    facts = tiny(tmp_path)
    (group,) = facts.kv_groups
    windowed = msgspec.structs.replace(
        facts, kv_groups=(msgspec.structs.replace(group, window=64),)
    )
    with pytest.raises(
        EngineError, match="its layer 0 has a window of None tokens; its facts say 64"
    ):
        load(windowed)


def test_a_layer_that_is_said_to_read_anothers_keys_and_has_its_own(tmp_path: Path) -> None:
    facts = tiny(tmp_path)
    (group,) = facts.kv_groups
    fewer = msgspec.structs.replace(
        group, layers=group.layers[:-1], readers={group.layers[-1]: group.layers[0]}
    )
    with pytest.raises(
        EngineError, match="its logits for a prompt computed in pieces differ from its own by"
    ):
        load(msgspec.structs.replace(facts, kv_groups=(fewer,)))


def test_a_window_that_a_class_does_not_look_at_is_none_when_fused(tmp_path: Path) -> None:
    """Texts of Mistral were published as Llama's, with the window still in the file."""
    facts = tiny(tmp_path, sliding_window=64)
    assert [group.window for group in facts.kv_groups] == [None]
    load_language_model(facts, torch.float32, CPU)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"position_bias": torch.zeros(1)}, "gives its attention 'position_bias'"),
        ({"some_new_keyword": 0.5}, "gives its attention 'some_new_keyword'"),
        ({"attention_mask": torch.zeros(1, 1, 2, 2)}, "gives its attention a mask"),
        ({"is_causal": False}, "looks ahead"),
    ],
)
def test_no_keyword_is_swallowed(given: dict[str, Any], text: str) -> None:
    table = KvTable(None, (KvGroup(layers=(0,), kv_heads=1, key_dim=4, value_dim=4),))
    pool = KvPool([table], [2], 4, torch.float32, CPU)
    module = SimpleNamespace(layer_idx=0, thespis_attention=PagedAttention(pool))
    heads = torch.zeros(1, 1, 2, 4)
    with pytest.raises(Unsupported, match=text):
        ours.attention(module, heads, heads, heads, **given)
