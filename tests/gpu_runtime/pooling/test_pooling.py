"""Vectors are transformers' own hidden states: of the last token, of all in the mean, of the first,
or of each."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.nn.functional import cosine_similarity, normalize

from thespis.actors.prompting.tokens import read_tokenizer
from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.layers.int8 import can_hold, quantised
from thespis.gpu_runtime.runner.runner import Runner
from thespis.protocol.requests.pooling import Dense, Pooler, PoolingParams

from ...zoo.vectors import ANIMALS
from ...zoo.writing import write
from ..driving import Driver, Prompt
from ..tiny import TEXT, facts_of, make, prompt_of, runner_for

LENGTHS = (7, 17, 40, 1)
TEXTS = [prompt_of(length, seed) for seed, length in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("qwen3")
    config = transformers.Qwen3Config(**TEXT, tie_word_embeddings=True)
    made = make(transformers.Qwen3ForCausalLM, config, folder)
    made.folder = folder
    return made


def runner_of(folder: Path, pooler: Pooler, fused: bool = True) -> Runner:
    return runner_for(facts_of(folder, output="vector", pooler=pooler), fused)


def states(model: Any, text: list[int]) -> torch.Tensor:
    """[tokens, hidden], of the body alone."""
    with torch.inference_mode():
        hidden: torch.Tensor = model.model(input_ids=torch.tensor([text])).last_hidden_state[0]
    return hidden


def vectors(
    runner: Runner, texts: list[list[int]], piece: int, params: PoolingParams | None = None
) -> list[torch.Tensor]:
    """[rows, width] of each, all in one flat batch at every step; nothing is sampled."""
    driver, found = Driver(runner), dict[int, torch.Tensor]()
    running = [driver.start(Prompt(text, pooling=params or PoolingParams())) for text in texts]
    while left := [one for one in running if one.computed < len(one.tokens)]:
        result = driver.step([(one, min(piece, len(one.tokens) - one.computed)) for one in left])
        assert not result.faults
        assert not result.sampled
        for made in result.pooled:
            found[made.seq] = torch.frombuffer(bytearray(made.data), dtype=torch.float32).view(
                made.rows, -1
            )
    return [found[one.seq] for one in running]


def assert_same(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        assert float(cosine_similarity(one, other, dim=-1).min()) >= 1 - 1e-5
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


PICKED: dict[str, Any] = {
    "last": lambda s: s[-1:],
    "mean": lambda s: s.mean(0, keepdim=True),
    "cls": lambda s: s[:1],
    "max": lambda s: s.max(0, keepdim=True).values,
    "mean_sqrt": lambda s: s.sum(0, keepdim=True) / len(s) ** 0.5,
    "weighted_mean": lambda s: torch.stack(
        [state for n, state in enumerate(s, 1) for _ in range(n)]
    ).mean(0, keepdim=True),
}


@pytest.mark.parametrize("piece", [512, 5])
@pytest.mark.parametrize("take", list(PICKED))
def test_one_vector_of_a_prompt(model: Any, take: Any, piece: int) -> None:
    picked = PICKED[take]
    wanted = [normalize(picked(states(model, text)), dim=-1) for text in TEXTS]
    assert_same(vectors(runner_of(model.folder, Pooler(take=take)), TEXTS, piece), wanted)


def test_a_batch_of_mixed_lengths_is_what_each_is_alone(model: Any) -> None:
    runner = runner_of(model.folder, Pooler())
    together = vectors(runner, TEXTS, 5)
    assert_same(together, [vectors(runner, [text], 512)[0] for text in TEXTS])


@pytest.mark.parametrize("piece", [512, 5])
def test_a_vector_of_each_token(model: Any, piece: int) -> None:
    params = PoolingParams(task="token_embed", use_activation=False)
    assert_same(
        vectors(runner_of(model.folder, Pooler()), TEXTS, piece, params),
        [states(model, text) for text in TEXTS],
    )


def test_the_beginning_of_a_vector_gets_its_length_again(model: Any) -> None:
    runner = runner_of(model.folder, Pooler(matryoshka=True), fused=False)
    wanted = [normalize(states(model, text)[-1:, :24], dim=-1) for text in TEXTS]
    assert_same(vectors(runner, TEXTS, 512, PoolingParams(dimensions=24)), wanted)


def test_linear_layers_stand_behind_the_pooling_and_not_behind_each_state(model: Any) -> None:
    """As torch's own modules compute it, cut to a beginning and brought to the length 1 at last."""
    layers = [torch.nn.Linear(64, 96), torch.nn.Linear(96, 48, bias=False)]
    dense = (
        Dense(path="2_Dense", inputs=64, outputs=96, activation="Tanh"),
        Dense(path="3_Dense", inputs=96, outputs=48, bias=False, activation="Identity"),
    )
    for described, layer in zip(dense, layers, strict=True):
        (model.folder / described.path).mkdir(exist_ok=True)
        weights = {f"linear.{name}": weight.detach() for name, weight in layer.named_parameters()}
        save_file(weights, model.folder / described.path / "model.safetensors")
    runner = runner_of(model.folder, Pooler(take="mean", dense=dense, matryoshka=True))
    with torch.inference_mode():
        means = [states(model, text).mean(0, keepdim=True) for text in TEXTS]
        wanted = [
            normalize(layers[1](torch.tanh(layers[0](mean)))[:, :40], dim=-1) for mean in means
        ]
    assert_same(vectors(runner, TEXTS, 5, PoolingParams(dimensions=40)), wanted)
    each = vectors(runner, TEXTS, 5, PoolingParams(task="token_embed", use_activation=False))
    assert_same(each, [states(model, text) for text in TEXTS])


def test_nothing_is_normalized_that_the_files_do_not_say(model: Any) -> None:
    runner = runner_of(model.folder, Pooler(normalize=False))
    assert_same(vectors(runner, TEXTS, 512), [states(model, text)[-1:] for text in TEXTS])
    means = runner_of(model.folder, Pooler(take="mean", normalize=False))
    assert_same(
        vectors(means, TEXTS, 5), [states(model, text).mean(0, keepdim=True) for text in TEXTS]
    )


def test_a_sequence_that_begins_again_forgets_its_sum(model: Any) -> None:
    """A preemption between two chunks: the mean is that of the whole prompt, none of it twice."""
    driver = Driver(runner_of(model.folder, Pooler(take="mean")))
    running = driver.start(Prompt(TEXTS[2], pooling=PoolingParams()))
    driver.step([(running, 20)])
    again = driver.preempt(running)
    driver.step([(again, 20)])
    (made,) = driver.step([(again, 20)]).pooled
    found = torch.frombuffer(bytearray(made.data), dtype=torch.float32)[None]
    assert_same([found], [normalize(states(model, TEXTS[2]).mean(0, keepdim=True), dim=-1)])


def test_a_model_of_text_faults_what_wants_vectors(model: Any) -> None:
    driver = Driver(runner_for(facts_of(model.folder)))
    result = driver.step([(driver.start(Prompt(TEXTS[0], pooling=PoolingParams())), 7)])
    assert "makes no vectors" in result.faults[0].text


def test_embedding_gemma_as_it_is_published(tmp_path: Path) -> None:
    """Texts shorter and longer than its windows, in one step each; every token sees those behind
    it, too."""
    folder = write(ANIMALS["embedding_gemma"](), tmp_path / "embedder")
    facts = model_facts(folder)
    assert (facts.span_scope, facts.span_windows) == ("text", "both")
    assert {group.window for group in facts.kv_groups} == {None, 7}, (
        "12 // 2 + 1: a token sees as far on both sides"
    )
    tokenizer = read_tokenizer(facts)
    texts = [
        tokenizer.encode(f"task: search result | query: {text}", True)
        for text in ("A cat.", "and on " * 20)
    ]
    texts += [[5], [7, 9]]
    body: Any = transformers.Gemma3TextModel.from_pretrained(folder, dtype=torch.float32)
    layers = [
        load_file(folder / f"{n}_Dense" / "model.safetensors")["linear.weight"] for n in (2, 3)
    ]
    with torch.inference_mode():
        means = [
            body(input_ids=torch.tensor([text])).last_hidden_state[0].mean(0, keepdim=True)
            for text in texts
        ]
    assert_same(
        vectors(runner_for(facts), texts, 512),
        [normalize(mean @ layers[0].T @ layers[1].T, dim=-1) for mean in means],
    )


def test_a_family_whose_configuration_says_that_its_text_has_no_direction(tmp_path: Path) -> None:
    """Qwen3 with is_causal, through the fused decoder."""
    made = ANIMALS["qwen3_embedding"]()
    folder = write(replace(made, config={**made.config, "is_causal": False}), tmp_path / "embedder")
    texts = [[token % 256 for token in text] for text in TEXTS]
    body: Any = transformers.Qwen3Model.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        wanted = [body(input_ids=torch.tensor([text])).last_hidden_state[0, -1:] for text in texts]
        causal = transformers.Qwen3Model.from_pretrained(
            folder, dtype=torch.float32, is_causal=True
        )
        assert (
            float(
                cosine_similarity(
                    causal(input_ids=torch.tensor([texts[2]])).last_hidden_state[0, -1:], wanted[2]
                )
            )
            < 0.999
        )
    assert_same(
        vectors(runner_for(model_facts(folder)), texts, 512),
        [normalize(state, dim=-1) for state in wanted],
    )


def test_qwen3_embedding_as_it_is_published(tmp_path: Path) -> None:
    """Its weights have the names of the body alone, no head among them, and its tokenizer ends
    every text."""
    folder = write(ANIMALS["qwen3_embedding"](), tmp_path / "embedder")
    facts = model_facts(folder)
    tokenizer, theirs = read_tokenizer(facts), transformers.AutoTokenizer.from_pretrained(folder)
    texts = [
        tokenizer.encode(text, True)
        for text in ("A cat.", "Instruct: Find it\nQuery:the cat that sat on the mat")
    ]
    assert texts[0] == theirs("A cat.")["input_ids"]
    assert texts[0][-1] == theirs.convert_tokens_to_ids("<|endoftext|>")
    body: Any = transformers.Qwen3Model.from_pretrained(folder, dtype=torch.float32)
    with torch.inference_mode():
        hidden = [body(input_ids=torch.tensor([text])).last_hidden_state[0, -1:] for text in texts]
    assert_same(
        vectors(runner_for(facts), texts, 5), [normalize(state, dim=-1) for state in hidden]
    )


def test_of_a_model_held_in_eight_bits_they_are_those_of_the_rounded_weights(
    tmp_path: Path,
) -> None:
    folder = write(ANIMALS["qwen3_embedding"](), tmp_path / "embedder")
    texts = [[token % 256 for token in text] for text in TEXTS]
    body: Any = transformers.Qwen3Model.from_pretrained(folder, dtype=torch.float32)
    rounded = 0
    with torch.inference_mode():
        before = [body(input_ids=torch.tensor([text])).last_hidden_state[0, -1:] for text in texts]
        for module in filter(can_hold, body.modules()):
            numbers, scales = quantised(module.weight)
            module.weight.copy_(numbers * scales[:, None])
            rounded += 1
        wanted = [body(input_ids=torch.tensor([text])).last_hidden_state[0, -1:] for text in texts]
    assert rounded
    found = vectors(runner_for(model_facts(folder), quantization="int8"), texts, 5)
    for one, right, other in zip(found, wanted, before, strict=True):
        assert (
            1 - 1e-5 <= float(cosine_similarity(one, right)) > float(cosine_similarity(one, other))
        )
