"""Items whose tokens see each other both ways, as the family's own forward masks them: by logits, which a causal mask fails."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import transformers

from thespis.gpu_runtime.attention.step import Chunk
from thespis.gpu_runtime.language_model import load_language_model
from thespis.gpu_runtime.measure import measure_spans
from thespis.protocol.errors import EngineError
from thespis.protocol.facts import ModelFacts, PlaceholderFacts
from thespis.protocol.sampling import SamplingParams

from .driving import Driver, Prompt
from .tiny import TEXT, facts_of, make, prompt_of, runner_for

tf: Any = transformers
MARK = 450
SIGLIP = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "intermediate_size": 32}
VISION = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16}
WINDOWS = {"num_hidden_layers": 3, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}
PICTURES = ((4, 9), (17, 4), (25, 6))
"""First position and rows of each; the window of eight cuts the first."""


def gemma3() -> Any:
    text = {**TEXT, **WINDOWS, "sliding_window": 8, "query_pre_attn_scalar": 16}
    return tf.Gemma3Config(text_config=text, vision_config=SIGLIP, image_token_index=MARK)


def gemma4() -> Any:
    text = {**TEXT, **WINDOWS, "sliding_window": 8, "global_head_dim": 32, "use_bidirectional_attention": "vision"}
    text |= {"hidden_size_per_layer_input": 0, "enable_moe_block": False}
    ids = {"image_token_id": MARK, "video_token_id": MARK + 1, "audio_token_id": MARK + 2}
    return tf.Gemma4Config(text_config=text, vision_config=VISION, audio_config=None, **ids)


def molmo2() -> Any:
    vision = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 16, "intermediate_size": 32}
    adapter: dict[str, Any] = {
        "vision_feature_layer": [0],
        "hidden_size": 32,
        "num_attention_heads": 2,
        "head_dim": 16,
        "intermediate_size": 32,
        "text_hidden_size": 64,
    }
    config = tf.Molmo2Config(text_config=TEXT, vision_config=vision, adapter_config=adapter)
    config.image_token_id = MARK
    return config


FAMILIES = {
    "gemma3": (gemma3, tf.Gemma3ForConditionalGeneration, (0, 1, 2), ("image",), False),
    "gemma4": (gemma4, tf.Gemma4ForConditionalGeneration, (0, 1), ("image", "video"), False),
    "molmo2": (molmo2, tf.Molmo2ForConditionalGeneration, (0, 1, 2), ("image",), True),
}


def described(model: Any, folder: Path) -> ModelFacts:
    mark = PlaceholderFacts(token="<image>", text="<image>", embed_token="<image>", embed_token_id=MARK)
    return facts_of(folder, placeholders={"image": mark}, span_token_ids=(MARK,))


def logprobs(facts: ModelFacts, prompt: Prompt, pieces: list[int]) -> torch.Tensor:
    driver = Driver(runner_for(facts))
    beside, one = driver.start(Prompt(prompt_of(len(prompt.token_ids), 9))), driver.start(prompt)
    found: list[float] = []
    for end in pieces:
        count = end - one.computed
        result = driver.step([(beside, count), (one, count)], SamplingParams(prompt_logprobs=0))
        assert not result.faults
        found += [entry.logprob for part in result.prompt_logprobs if part.seq == one.seq for entry in part.entries]
    return torch.tensor(found)


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_see_each_other_as_the_family_says(family: str, tmp_path: Path) -> None:
    config, kind, layers, modalities, joined = FAMILIES[family]
    model = make(kind, config(), tmp_path)
    facts = described(model, tmp_path)
    assert (facts.span_layers, facts.span_modalities, facts.spans_joined) == (layers, modalities, joined)
    ids, kinds = prompt_of(40), torch.zeros(1, 40, dtype=torch.long)
    embeds = model.get_input_embeddings()(torch.tensor(ids)).detach()
    rows = []
    for number, (start, count) in enumerate(PICTURES):
        drawn = 0.3 * torch.randn(count, 64, generator=torch.Generator().manual_seed(number))
        embeds[start : start + count], kinds[0, start : start + count] = drawn, 1
        ids[start : start + count] = [MARK] * count
        rows.append((start, drawn))
    with torch.inference_mode():
        whole = model(inputs_embeds=embeds[None], token_type_ids=kinds, mm_token_type_ids=kinds, use_cache=False)
    wanted = whole.logits[0].float().log_softmax(-1)[:-1].gather(-1, torch.tensor(ids)[1:, None])[:, 0]
    for pieces in ([40], [2, 33, 40]) if joined else ([40], [4, 13, 15, 21, 31, 36, 40]):
        torch.testing.assert_close(logprobs(facts, Prompt(ids, embeds=rows), pieces), wanted, atol=2e-4, rtol=0)
    causal = logprobs(msgspec.structs.replace(facts, span_layers=(), span_token_ids=()), Prompt(ids, embeds=rows), [40])
    assert float((causal - wanted).abs().max()) > 0.02


@pytest.mark.parametrize("family", FAMILIES)
def test_a_causal_mask_is_found_when_the_model_is_loaded(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, kind, *_ = FAMILIES[family]
    facts = described(make(kind, config(), tmp_path), tmp_path)
    load_language_model(facts, torch.float32, torch.device("cpu"))
    mask, is_plain = Chunk.mask, Chunk.is_plain
    monkeypatch.setattr(Chunk, "mask", lambda self, both_ways, *given: mask(self, False, *given))
    monkeypatch.setattr(Chunk, "is_plain", lambda self, both_ways: is_plain(self, False))
    with pytest.raises(EngineError, match="its logits for a prompt computed whole differ from its own"):
        load_language_model(facts, torch.float32, torch.device("cpu"))


def test_a_text_that_is_seen_both_ways_is_refused() -> None:
    text = {**TEXT, "model_type": "gemma"}
    config = tf.PaliGemmaConfig(text_config=text, vision_config={**SIGLIP, "projection_dim": 64}, projection_dim=64)
    with torch.device("meta"):
        model = tf.PaliGemmaForConditionalGeneration(config)
    with pytest.raises(EngineError, match=r"'paligemma' .* the tokens of its text see those behind them"):
        measure_spans(model)
