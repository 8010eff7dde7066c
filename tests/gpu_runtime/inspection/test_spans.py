"""Items whose tokens see each other both ways, as the family's own forward masks them: by logits,
which a causal mask fails."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import transformers

from thespis.actors.preprocessor.assembly import unbroken
from thespis.gpu_runtime.attention.metadata import Chunk
from thespis.gpu_runtime.models.language_model import load_language_model
from thespis.protocol.errors import EngineError
from thespis.protocol.facts import ModelFacts, PlaceholderFacts
from thespis.protocol.requests.sampling import SamplingParams

from ..driving import BLOCK, Driver, Prompt
from ..tiny import TEXT, facts_of, make, prompt_of, runner_for

tf: Any = transformers
MARK = 450
SIGLIP = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "intermediate_size": 32,
}
VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
WINDOWS = {
    "num_hidden_layers": 3,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
}
PICTURES = ((4, 9), (17, 4), (25, 6))
"""First position and rows of each; the window of seven, less than two blocks, cuts the first."""
EDGES = ((0, 9), (9, 3), (20, 20))
"""At both ends of a prompt, and side by side, where two are one span."""


def gemma3() -> Any:
    text = {**TEXT, **WINDOWS, "sliding_window": 7, "query_pre_attn_scalar": 16}
    return tf.Gemma3Config(text_config=text, vision_config=SIGLIP, image_token_index=MARK)


def gemma4() -> Any:
    text = {
        **TEXT,
        **WINDOWS,
        "sliding_window": 7,
        "global_head_dim": 32,
        "use_bidirectional_attention": "vision",
    }
    text |= {"hidden_size_per_layer_input": 0, "enable_moe_block": False}
    ids = {"image_token_id": MARK, "video_token_id": MARK + 1, "audio_token_id": MARK + 2}
    return tf.Gemma4Config(text_config=text, vision_config=VISION, audio_config=None, **ids)


def molmo2() -> Any:
    vision = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 16,
        "intermediate_size": 32,
    }
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


def paligemma() -> Any:
    text = {**TEXT, "model_type": "gemma"}
    return tf.PaliGemmaConfig(
        text_config=text, vision_config=SIGLIP, projection_dim=64, image_token_index=MARK
    )


def paligemma2() -> Any:
    text = {**TEXT, **WINDOWS, "model_type": "gemma2", "sliding_window": 7}
    return tf.PaliGemmaConfig(
        text_config=text, vision_config=SIGLIP, projection_dim=64, image_token_index=MARK
    )


PALIGEMMA = tf.PaliGemmaForConditionalGeneration
FAMILIES = {
    "gemma3": (gemma3, tf.Gemma3ForConditionalGeneration, (0, 1, 2), ("image",), "item"),
    "gemma4": (gemma4, tf.Gemma4ForConditionalGeneration, (0, 1), ("image", "video"), "item"),
    "molmo2": (molmo2, tf.Molmo2ForConditionalGeneration, (0, 1, 2), ("image",), "items"),
    "paligemma": (paligemma, PALIGEMMA, (0, 1, 2), (), "prompt"),
    "paligemma2": (paligemma2, PALIGEMMA, (0, 1, 2), (), "prompt"),
}


def described(model: Any, folder: Path) -> ModelFacts:
    mark = PlaceholderFacts(
        token="<image>", text="<image>", embed_token="<image>", embed_token_id=MARK
    )
    return facts_of(folder, placeholders={"image": mark}, span_token_ids=(MARK,))


def logprobs(facts: ModelFacts, prompt: Prompt, pieces: list[int]) -> torch.Tensor:
    driver = Driver(runner_for(facts))
    beside, one = driver.start(Prompt(prompt_of(len(prompt.token_ids), 9))), driver.start(prompt)
    found: list[float] = []
    for end in pieces:
        count = end - one.computed
        result = driver.step([(beside, count), (one, count)], SamplingParams(prompt_logprobs=0))
        assert not result.faults
        found += [
            entry.logprob
            for part in result.prompt_logprobs
            if part.seq == one.seq
            for entry in part.entries
        ]
    return torch.tensor(found)


@pytest.mark.parametrize("pictures", [PICTURES, EDGES])
@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_see_each_other_as_the_family_says(
    family: str, pictures: tuple[tuple[int, int], ...], tmp_path: Path
) -> None:
    config, kind, layers, modalities, scope = FAMILIES[family]
    model = make(kind, config(), tmp_path)
    facts = described(model, tmp_path)
    assert (facts.span_layers, facts.span_modalities, facts.span_scope) == (
        layers,
        modalities,
        scope,
    )
    facts = msgspec.structs.replace(facts, rows_added=False)  # the rows are given whole to both
    ids, kinds = prompt_of(40), torch.zeros(1, 40, dtype=torch.long)
    embeds = model.get_input_embeddings()(torch.tensor(ids)).detach()
    rows = []
    for number, (start, count) in enumerate(pictures):
        drawn = 0.3 * torch.randn(count, 64, generator=torch.Generator().manual_seed(number))
        embeds[start : start + count], kinds[0, start : start + count] = (
            drawn,
            int(scope != "prompt"),
        )
        ids[start : start + count] = [MARK] * count
        rows.append((start, drawn))
    with torch.inference_mode():
        whole = model(
            inputs_embeds=embeds[None],
            token_type_ids=kinds,
            mm_token_type_ids=kinds,
            use_cache=False,
        )
    wanted = (
        whole.logits[0].float().log_softmax(-1)[:-1].gather(-1, torch.tensor(ids)[1:, None])[:, 0]
    )
    stretches = unbroken(ids, facts)
    ends = [
        end
        for end in (2, 4, 9, 12, 13, 15, 21, 31, 36, 40)
        if not any(a < end < b for a, b in stretches)
    ]
    for pieces in ([40], ends):
        torch.testing.assert_close(
            logprobs(facts, Prompt(ids, embeds=rows), pieces), wanted, atol=2e-4, rtol=0
        )
    blind = msgspec.structs.replace(facts, span_layers=(), span_token_ids=())
    if scope == "prompt":
        with pytest.raises(EngineError, match="its layer 0 looks ahead"):
            logprobs(blind, Prompt(ids, embeds=rows), [40])
        return
    causal = logprobs(blind, Prompt(ids, embeds=rows), [40])
    assert float((causal - wanted).abs().max()) > 0.02


@pytest.mark.parametrize("family", FAMILIES)
def test_a_causal_mask_is_found_when_the_model_is_loaded(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, kind, *_ = FAMILIES[family]
    facts = described(make(kind, config(), tmp_path), tmp_path)
    load_language_model(facts, torch.float32, torch.device("cpu"))
    mask, is_plain = Chunk.mask, Chunk.is_plain
    monkeypatch.setattr(Chunk, "mask", lambda self, both_ways, *given: mask(self, False, *given))
    monkeypatch.setattr(Chunk, "is_plain", lambda self, both_ways: is_plain(self, False))
    with pytest.raises(
        EngineError, match="its logits for a prompt computed whole differ from its own"
    ):
        load_language_model(facts, torch.float32, torch.device("cpu"))


@pytest.mark.parametrize(
    ("family", "window"),
    [("molmo2", None), ("paligemma", None), ("paligemma2", 30), ("gemma3", 20)],
)
def test_a_stretch_goes_on_from_blocks_in_its_middle(
    family: str, window: int | None, tmp_path: Path
) -> None:
    """Where no window has let go of them, as of a stretch that is no longer."""
    config, kind, *_ = FAMILIES[family]
    made = config()
    if window is not None:
        made.text_config.sliding_window = window
    driver = Driver(runner_for(described(make(kind, made, tmp_path), tmp_path)))
    rows = 0.3 * torch.randn(20, 64, generator=torch.Generator().manual_seed(1))
    prompt = Prompt([*prompt_of(4), *[MARK] * 20, *prompt_of(6)], embeds=[(4, rows)])
    one = driver.start(prompt)
    first = driver.step([(one, 30)], SamplingParams(temperature=0, logprobs=2)).sampled[0]
    other = driver.start(prompt, blocks=one.blocks[:3], computed=3 * BLOCK)
    again = driver.step(
        [(other, 30 - 3 * BLOCK)], SamplingParams(temperature=0, logprobs=2)
    ).sampled[0]
    assert again.token_id == first.token_id
    assert again.logprobs is not None
    assert first.logprobs is not None
    assert again.logprobs.logprob == pytest.approx(first.logprobs.logprob, abs=1e-4)


def test_what_is_said_after_a_prompt_is_causal(tmp_path: Path) -> None:
    """By the logits of a sequence that is computed anew with what it has said: one step holds
    both."""
    model = make(PALIGEMMA, paligemma2(), tmp_path)
    ids, prompt = prompt_of(40), 25
    kinds = (torch.arange(40)[None] >= prompt).long()
    with torch.inference_mode():
        whole = model(input_ids=torch.tensor([ids]), token_type_ids=kinds, use_cache=False).logits[
            0
        ]
        ahead = model(
            input_ids=torch.tensor([ids]), token_type_ids=0 * kinds, use_cache=False
        ).logits[0]
    assert float((ahead - whole).abs().max()) > 0.02
    facts = described(model, tmp_path)
    assert facts.span_windows == "none"
    driver = Driver(runner_for(facts))
    again = driver.start(Prompt(ids[:prompt]), ids[prompt:])
    driver.step([(again, 40)])
    assert again.output[-1] == int(whole[-1].argmax()) != int(ahead[-1].argmax())
