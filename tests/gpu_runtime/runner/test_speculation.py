"""Tokens that are guessed change no answer: greedy and sampled, under penalties, constraints and
grammars, with several choices, in company, preempted and after the runner's death, what is said is
what is said without."""

import random
from functools import cache, partial
from typing import Any

import msgspec
import pytest
import torch

from thespis.gpu_runtime.facts.model import model_facts
from thespis.gpu_runtime.runner.runner import Runner
from thespis.protocol.checkpoint.folder import demo_model
from thespis.protocol.config.room import Room
from thespis.protocol.config.speculation import Speculation
from thespis.protocol.requests.guide import Guide
from thespis.protocol.requests.prepared import Prepared

from ...actors.scheduler.bench import config, prepared
from ..driving import BLOCK, runner_config
from ..in_process import InProcess, Listening

pytestmark = pytest.mark.timeout(120)
LONGEST = 256
HOW = Speculation(
    method="ngram", num_speculative_tokens=4, prompt_lookup_max=3, prompt_lookup_min=1
)
KINDS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "greedy with log-probabilities": {"temperature": 0.0, "logprobs": 3},
    "sampled": {"temperature": 0.7},
    "sampled twice": {"temperature": 0.5, "n": 2, "top_p": 0.8, "logprobs": 0},
    "penalties": {
        "temperature": 0.6,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.3,
        "frequency_penalty": 0.2,
    },
    "an end that may not come": {
        "temperature": 0.8,
        "min_tokens": 9,
        "ignore_eos": False,
        "top_k": 40,
    },
    "bad words": {"temperature": 0.0, "bad_words_ids": ((30, 31), (40,), (50, 51, 52))},
    "few tokens": {
        "temperature": 0.9,
        "allowed_token_ids": tuple(range(30, 36)),
        "logit_bias": {33: 2.0},
    },
    "one token": {"temperature": 0.0, "allowed_token_ids": (77,)},
    "a grammar": {
        "temperature": 0.8,
        "structured_outputs": Guide("regex", "(abc|abd){5}(xyz){6}[0-9]{3}"),
        "ignore_eos": False,
    },
}


@cache
def _runner() -> Runner:
    facts = model_facts(demo_model())
    settings = runner_config(demo_model(), max_model_len=LONGEST)
    return Runner(
        msgspec.structs.replace(settings, room=Room((4000,) * len(facts.tables)), max_num_seqs=32)
    )


def bench_of(speculation: Speculation | None, blocks: int = 3000) -> Listening:
    settings = config(
        block_size=BLOCK, room=Room((blocks,)), max_model_len=LONGEST, max_batched_tokens=256,
        max_num_seqs=16,
        speculation=speculation,
    )  # fmt: skip
    return Listening(settings, model=partial(InProcess, _runner(), {}))


def request(kind: str, seed: int) -> Prepared:
    """A prompt that repeats itself."""
    dice = torch.Generator().manual_seed(seed)
    words = torch.randint(20, 90, (9,), generator=dice).tolist()
    how = {"ignore_eos": True, "seed": seed, **KINDS[kind]}
    eos = model_facts(demo_model()).eos_token_ids
    return prepared(f"{kind} {seed}", [*words * 3, *words[:4]], max_tokens=24, eos=eos, **how)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_the_same(kind: str) -> None:
    asked = [request(kind, seed) for seed in range(3)]
    plain, guessing = bench_of(None), bench_of(HOW)
    for bench in (plain, guessing):
        bench.submit(*asked)
        bench.run()
        bench.assert_empty()
    assert guessing.tokens == plain.tokens
    assert {name: end.finish for name, end in guessing.finishes.items()} == {
        name: end.finish for name, end in plain.finishes.items()
    }
    tally = guessing.policy.tally
    assert tally.accepted_tokens >= (0 if kind == "bad words" else 1)
    wrong = tally.drafted_tokens - tally.accepted_tokens
    assert wrong >= (0 if kind == "one token" else 1), (
        "one that may say a single token is guessed right"
    )
    for name, said in plain.heard.items():
        for (_, one), (_, other) in zip(said, guessing.heard[name], strict=True):
            assert one.token_id == other.token_id
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
            assert [token for token, _ in one.top] == [token for token, _ in other.top]


def test_whatever_is_done_to_them() -> None:
    """Another storm each time; `seed` brings one back."""
    seed = random.randrange(1 << 16)
    dice = random.Random(seed)
    asked = [request(dice.choice(list(KINDS)), dice.randrange(7)) for _ in range(10)]
    asked = list({one.id: one for one in asked}.values())
    plain = bench_of(None)
    plain.submit(*asked)
    plain.run()
    bench = bench_of(HOW, blocks=dice.randrange(40, 80))
    for one in asked:
        bench.submit(one)
        for move in dice.choices(("plan", "answer", "lose"), (12, 10, 1), k=dice.randrange(30)):
            match move:
                case "plan":
                    bench.plan()
                case "answer":
                    bench.answer()
                case "lose" if not bench.cornered():
                    bench.lose_runner()
                    bench.join_runner()
            bench.deliver()
            bench.check_blocks()
    bench.run()
    assert bench.tokens == plain.tokens, f"seed {seed}"
    bench.assert_empty()
