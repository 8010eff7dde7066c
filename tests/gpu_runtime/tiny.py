"""Tiny models of any class of transformers: written as a checkpoint, run by our runner in company,
and by `generate` alone."""

import re
from pathlib import Path
from typing import Any

import torch

from thespis.gpu_runtime.facts.model import measured
from thespis.gpu_runtime.inspection.config_forms import text_config
from thespis.gpu_runtime.inspection.hf import build_on_meta, load_config
from thespis.gpu_runtime.inspection.measure import (
    adds_rows,
    answers_apart,
    deepstack_levels,
    looked_up,
    measure_layers,
    per_layer_width,
    position_planes,
)
from thespis.gpu_runtime.inspection.spans import measure_spans
from thespis.gpu_runtime.runner.runner import Runner
from thespis.protocol.config.engine import Quantization, RunnerKind
from thespis.protocol.config.roles import RunnerConfig, Threads
from thespis.protocol.config.room import Room
from thespis.protocol.facts import ModelFacts

from ..helpers.environment import DEVICE
from .driving import BLOCK, Driver, Prompt, Running

VOCAB = 512
OUTPUT = 8
TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 96,
    "vocab_size": VOCAB,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def decoder_facts(folder: Path, runner: RunnerKind = "auto") -> ModelFacts:
    """All but what a checkpoint's processor tells."""
    return measured(folder, runner)[0]


def make(kind: Any, config: Any, folder: Path, seed: int = 0) -> Any:
    """A model of class `kind` with wide random weights, in float32, saved in `folder`."""
    torch.manual_seed(seed)
    model = kind._from_config(config, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(seed)
    table = model.get_input_embeddings().weight
    tied = model.get_output_embeddings().weight is table
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if tied and weight is table:  # narrow: else the token said last wins for ever
                weight.normal_(0, 0.04, generator=generator)
            elif re.search(
                r"\bdt_(proj\.)?bias$", name
            ):  # a state that remembers more than the last tokens
                weight.normal_(-3, 0.5, generator=generator)
            elif weight.ndim > 1:
                weight.normal_(0, 0.25 if min(weight.shape) < 200 else 0.12, generator=generator)
            elif name.endswith("weight"):
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
            else:
                weight.normal_(0, 0.05, generator=generator)
    model.save_pretrained(folder)
    return model


def facts_of(folder: Path, **changes: Any) -> ModelFacts:
    """As `model_facts` finds them, for a folder without a tokenizer."""
    config = load_config(folder)
    model: Any = build_on_meta(config)
    text = text_config(config)
    planes, spans, levels = position_planes(model), measure_spans(model), deepstack_levels(model)
    width, vocab = per_layer_width(model), model.get_output_embeddings().weight.shape[0]
    layers = measure_layers(model, int(text.max_position_embeddings))
    known = {
        "path": str(folder),
        "model_type": config.model_type,
        "architecture": type(model).__name__,
        "layers": text.num_hidden_layers,
        "hidden": text.hidden_size,
        "vocab": vocab,
        "context": text.max_position_embeddings,
        "kv_groups": layers.kv,
        "recurrent": layers.recurrent,
        "answers_apart": answers_apart(model),
        "position_planes": planes,
        "span_layers": spans.layers,
        "span_modalities": spans.modalities,
        "span_scope": spans.scope,
        "span_windows": spans.windows,
        "rows_added": adds_rows(model),
        "deepstack_levels": levels,
        "per_layer_width": width,
        "looked_up": looked_up(model),
        "eos_token_ids": (2,),
        "dtype": "float32",
        "fingerprint": "",
    }
    return ModelFacts(**{**known, **changes})


def runner_for(facts: ModelFacts, fused: bool = True, quantization: Quantization = None) -> Runner:
    config = RunnerConfig(
        model=facts,
        dtype="float32",
        device=DEVICE,
        threads=Threads(1, 1, 1),
        native_kernels=True,
        block_size=BLOCK,
        room=Room((400,) * len(facts.tables), 40 if facts.recurrent else 0),
        max_num_seqs=8,
        max_batched_tokens=512,
        max_model_len=facts.context,
        gpu_memory_utilization=0.5,
        quantization=quantization,
    )
    return Runner(config, fused)


def prompt_of(length: int, seed: int = 0) -> list[int]:
    return torch.randint(10, 400, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def generated(model: Any, token_ids: list[int], **features: Any) -> list[int]:
    """What transformers says to one prompt alone."""
    ids = torch.tensor([token_ids])
    with torch.inference_mode():
        made = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=OUTPUT,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            **features,
        )
    return list(map(int, made[0, len(token_ids) :]))


def answers(runner: Runner, prompts: list[Prompt], piece: int) -> list[list[int]]:
    """All prompts in one flat batch at every step, in pieces of at most `piece` tokens."""
    driver = Driver(runner)
    running: list[Running] = [driver.start(prompt) for prompt in prompts]
    while left := [one for one in running if len(one.output) < OUTPUT]:
        result = driver.step([(one, min(piece, len(one.tokens) - one.computed)) for one in left])
        assert not result.faults
    return [one.output for one in running]


def assert_equal(
    model: Any, folder: Path, lengths: tuple[int, ...] = (7, 17, 40), fused: bool = True
) -> Runner:
    """Texts of these lengths, whole and in pieces of five, together: greedy tokens are those of
    `generate` alone."""
    texts = [prompt_of(length, seed) for seed, length in enumerate(lengths)]
    wanted = [generated(model, text) for text in texts]
    runner = runner_for(facts_of(folder), fused)
    for piece in (512, 5):
        assert answers(runner, [Prompt(text) for text in texts], piece) == wanted
    assert all(len(set(answer)) > 1 for answer in wanted)
    return runner
