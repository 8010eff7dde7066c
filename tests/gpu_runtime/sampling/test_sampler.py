"""Sampling against naive references, against transformers' processors, and against its own
batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor

from thespis.gpu_runtime.sampling.logits import apply_min_p, apply_top, penalise
from thespis.gpu_runtime.sampling.sampler import SamplerState, chosen_logprobs, sample
from thespis.protocol.requests.sampling import SamplingParams

VOCAB = 50
CPU = torch.device("cpu")


def logits(rows: int, seed: int = 0, vocab: int = VOCAB) -> torch.Tensor:
    return torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed)) * 2


def state(
    prompt: Sequence[int] = (1,),
    output: Sequence[int] = (),
    eos: Sequence[int] = (),
    choice: int = 0,
    **params: Any,
) -> SamplerState:
    return SamplerState(
        SamplingParams(**{"seed": 1, **params}), choice, prompt, output, eos, VOCAB, CPU
    )


def test_greedy_takes_the_likeliest() -> None:
    scores = logits(8)
    assert sample(scores, [state(temperature=0.0)] * 8).tokens == scores.argmax(-1).tolist()


def test_a_sample_does_not_depend_on_its_batch() -> None:
    """The same request among others, in any row, beside other parameters."""
    scores = logits(9)
    params: list[dict[str, Any]] = [
        {"temperature": 0.0},
        {"temperature": 1.3},
        {"top_k": 5},
        {"top_p": 0.7},
        {"min_p": 0.1},
        {"top_k": 20, "top_p": 0.5},
        {"presence_penalty": 1.0, "output": (3, 4)},
        {"logit_bias": {3: 4.0}},
        {"temperature": 0.7, "choice": 2},
    ]
    states = [state(**{"seed": index, **p}) for index, p in enumerate(params)]
    together = sample(scores, states).tokens
    alone = [sample(scores[i : i + 1], [states[i]]).tokens[0] for i in range(len(states))]
    order = [4, 8, 1, 0, 7, 3, 2, 6, 5]
    shuffled = sample(scores[order], [states[i] for i in order]).tokens
    assert together == alone
    assert shuffled == [together[i] for i in order]


def test_samples_follow_the_distribution() -> None:
    scores = logits(1).expand(4000, -1)
    tokens = sample(scores, [state(seed=i, temperature=0.8) for i in range(4000)]).tokens
    expected = (scores[0] / 0.8).softmax(-1).numpy() * 4000
    found = np.bincount(tokens, minlength=VOCAB)
    common = expected > 5
    chi2 = ((found[common] - expected[common]) ** 2 / expected[common]).sum()
    assert chi2 < common.sum() + 5 * np.sqrt(2 * common.sum())


def test_seed_choice_and_position_each_change_the_draw() -> None:
    scores = logits(1).expand(200, -1) * 0.1
    by_seed = sample(scores, [state(seed=i) for i in range(200)]).tokens
    by_choice = sample(scores, [state(choice=i) for i in range(200)]).tokens
    by_position = sample(scores, [state(output=[0] * i) for i in range(200)]).tokens
    assert min(len(set(tokens)) for tokens in (by_seed, by_choice, by_position)) > 30


def naive_top(row: list[float], top_k: int, top_p: float) -> set[int]:
    order = sorted(range(len(row)), key=lambda token: -row[token])
    kept = order[: top_k or None]
    weights = np.exp(np.array([row[token] for token in kept]) - max(row))
    weights /= weights.sum()
    out, mass = set(), 0.0
    for token, weight in zip(kept, weights, strict=True):
        if mass >= top_p:
            break
        out.add(token)
        mass += weight
    return out


@pytest.mark.parametrize("vocab", [VOCAB, 3000])
@pytest.mark.parametrize(
    ("top_k", "top_p"),
    [(0, 0.3), (0, 0.95), (7, 1.0), (7, 0.6), (1, 1.0), (0, 1e-9), (2000, 0.999)],
)
def test_top_k_and_top_p_keep_what_the_naive_way_keeps(
    vocab: int, top_k: int, top_p: float
) -> None:
    scores = logits(5, seed=3, vocab=vocab) * (
        0.01 if vocab > VOCAB else 1
    )  # flat: the first candidates do not suffice
    k = torch.full((5, 1), top_k if 0 < top_k < vocab else vocab)
    kept = apply_top(scores, k, torch.full((5, 1), top_p))
    for row in range(5):
        want = naive_top(scores[row].tolist(), top_k, top_p)
        have = set(torch.isfinite(kept[row]).nonzero()[:, 0].tolist())
        assert len(want ^ have) <= (vocab > VOCAB)  # the last of thousands is a matter of rounding


def test_rows_without_limits_are_untouched_beside_rows_with_limits() -> None:
    scores = logits(2)
    kept = apply_top(scores, torch.tensor([[VOCAB], [3]]), torch.ones(2, 1))
    assert torch.equal(kept[0], scores[0])
    assert int(torch.isfinite(kept[1]).sum()) == 3


def test_min_p_keeps_tokens_above_a_share_of_the_best() -> None:
    scores = logits(4)
    kept = torch.isfinite(apply_min_p(scores, torch.full((4, 1), 0.2)))
    probs = scores.softmax(-1)
    assert torch.equal(kept, probs >= 0.2 * probs.amax(-1, keepdim=True))


def test_repetition_penalty_is_transformers() -> None:
    prompt, output = [3, 9, 9, 20], [7, 7, 3]
    scores = logits(1)
    wanted = RepetitionPenaltyLogitsProcessor(1.7)(torch.tensor([prompt + output]), scores.clone())
    one = state(prompt, output, temperature=0.0, repetition_penalty=1.7)
    have = penalise(
        scores,
        one.seen[None],
        one.counts[None],
        torch.tensor([[1.7]]),
        torch.zeros(1, 1),
        torch.zeros(1, 1),
    )
    torch.testing.assert_close(have, wanted)


def test_presence_and_frequency_count_the_output_only() -> None:
    scores = torch.zeros(1, VOCAB)
    scores[0, 5], scores[0, 6], scores[0, 7] = 3.0, 2.5, 2.2
    common: dict[str, Any] = {"prompt": (5, 5, 5), "temperature": 0.0}
    assert sample(scores, [state(frequency_penalty=0.6, **common)]).tokens == [5]
    assert sample(scores, [state(frequency_penalty=0.6, output=(5,), **common)]).tokens == [6]
    assert sample(scores, [state(frequency_penalty=0.45, output=(5, 5, 6), **common)]).tokens == [7]
    assert sample(scores, [state(presence_penalty=1.0, output=(5, 5, 6), **common)]).tokens == [7]


def test_state_advanced_equals_state_replayed() -> None:
    stepped = state(prompt=(2, 3), repetition_penalty=1.2, frequency_penalty=0.3)
    for token in (4, 4, 9):
        stepped.advance(token)
    replayed = state(prompt=(2, 3), output=(4, 4, 9), repetition_penalty=1.2, frequency_penalty=0.3)
    assert stepped.count == replayed.count
    assert torch.equal(stepped.counts, replayed.counts)
    assert torch.equal(stepped.seen, replayed.seen)


def test_bias_and_allowed_tokens_bind_greedy_rows_too() -> None:
    scores = logits(2)
    worst = int(scores[0].argmin())
    tokens = sample(
        scores,
        [
            state(temperature=0.0, logit_bias={worst: 100.0}),
            state(temperature=0.0, allowed_token_ids=(4, 8)),
        ],
    )
    assert tokens.tokens[0] == worst
    assert tokens.tokens[1] == (4 if scores[1, 4] > scores[1, 8] else 8)


def test_no_end_before_min_tokens() -> None:
    scores = torch.zeros(1, VOCAB)
    scores[0, 2], scores[0, 3], scores[0, 4] = 9.0, 8.0, 7.0
    early: dict[str, Any] = {
        "eos": (2,),
        "stop_token_ids": (3,),
        "temperature": 0.0,
        "min_tokens": 2,
    }
    assert sample(scores, [state(**early)]).tokens == [4]
    assert sample(scores, [state(output=(4,), **early)]).tokens == [4]
    assert sample(scores, [state(output=(4, 4), **early)]).tokens == [2]


def test_rows_that_leave_no_token_fail_alone() -> None:
    scores = logits(3)
    scores[1, 4] = torch.nan
    states = [
        state(temperature=0.0),
        state(temperature=0.5),
        state(temperature=0.0, eos=(2,), allowed_token_ids=(2,), min_tokens=1),
    ]
    chosen = sample(scores, states)
    assert chosen.failed == [1, 2]
    assert chosen.tokens[0] == int(scores[0].argmax())


def test_token_ids_outside_the_vocabulary_are_refused_by_name() -> None:
    with pytest.raises(
        ValueError, match=r"logit_bias names the token 50; the model has tokens 0 to 49\."
    ):
        state(logit_bias={50: 1.0})
    with pytest.raises(ValueError, match="allowed_token_ids"):
        state(allowed_token_ids=(-1,))


def test_logprobs_are_of_the_raw_logits() -> None:
    scores = logits(3)
    states = [
        state(logprobs=3, temperature=0.2, logit_bias={1: 50.0}),
        state(),
        state(logprobs=0, temperature=0.0),
    ]
    tokens = sample(scores, states).tokens
    found = chosen_logprobs(scores, tokens, states)
    table = scores.log_softmax(-1)
    assert set(found) == {0, 2}
    assert tokens[0] == found[0].token_id == 1
    assert found[0].logprob == pytest.approx(float(table[0, 1]), abs=1e-5)
    assert found[0].rank == int((table[0] > table[0, 1]).sum()) + 1
    best = table[0].topk(3)
    assert [token for token, _ in found[0].top] == best.indices.tolist()
    assert [value for _, value in found[0].top] == pytest.approx(best.values.tolist(), abs=1e-5)
    assert found[2].rank == 1
    assert found[2].top == ()
