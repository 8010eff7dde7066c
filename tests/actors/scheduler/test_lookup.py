"""What is guessed, and what becomes of right and wrong guesses."""

from typing import Any

import pytest

from thespis.actors.scheduler import lookup
from thespis.actors.scheduler.lookup import propose
from thespis.protocol.config.roles import SchedulerConfig
from thespis.protocol.config.room import Room
from thespis.protocol.config.speculation import Speculation, speculation
from thespis.protocol.edges.detokenizer_to_scheduler import Stopped
from thespis.protocol.edges.gpu_runner_to_scheduler import Sampled, StepResult
from thespis.protocol.edges.scheduler_to_gpu_runner import StepPlan

from .bench import Bench, config, prepared
from .paged_model import oracle


@pytest.mark.parametrize(
    ("said", "count", "found"),
    [
        ("abcdeab", 3, "cde"),
        ("abcdeab", 9, "cdeab"),
        ("abxyabcdeab", 3, "cde"),  # the last place
        ("abxyzabcab", 4, "xyza"),  # the last where as many follow
        ("abcd", 3, ""),
        ("aaaaa", 2, "aa"),
        ("aa", 3, ""),
        ("xbqab", 3, ""),  # one alike is too few
        ("", 3, ""),
        ("a", 3, ""),
    ],
)
def test_what_followed_the_last_tokens_before(said: str, count: int, found: str) -> None:
    assert propose(said, count, longest=3, shortest=2) == found


def test_the_longest_end_counts() -> None:
    assert propose("abcXbcYabc", 1, longest=3, shortest=1) == "X"
    assert propose("abcXbcYabc", 1, longest=2, shortest=1) == "Y"


def test_how_it_is_said() -> None:
    assert speculation({}) is None
    said = speculation({"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 3})
    assert said == Speculation(
        method="ngram", num_speculative_tokens=4, prompt_lookup_max=3, prompt_lookup_min=3
    )
    usual = speculation({"method": "ngram", "num_speculative_tokens": 4})
    assert usual is not None
    assert usual.prompt_lookup_min == usual.prompt_lookup_max == 5


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (
            {"method": "eagle", "num_speculative_tokens": 4},
            "method must be 'ngram', got 'eagle': .* no second model",
        ),
        ({"num_speculative_tokens": 4}, "method must be 'ngram', which is missing"),
        ({"method": "ngram"}, "num_speculative_tokens"),
        ({"method": "ngram", "num_speculative_tokens": 0}, ">= 1"),
        ({"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 0}, ">= 1"),
        (
            {"method": "ngram", "num_speculative_tokens": 4, "model": "x"},
            "unknown field `model`. Its keys are method, num_speculative_tokens, prompt_lookup_max",
        ),
        (
            {
                "method": "ngram",
                "num_speculative_tokens": 4,
                "prompt_lookup_max": 2,
                "prompt_lookup_min": 3,
            },
            "min is more",
        ),
    ],
)
def test_what_cannot_be_said(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match="speculative_config: .*" + why):
        speculation(given)


class Copying:
    """A model that says its prompt again, and again."""

    steps = 0

    def __init__(self, _: SchedulerConfig) -> None:
        self.tokens: dict[int, list[int]] = {}
        self.period: dict[int, int] = {}

    def run(self, plan: StepPlan, unreadable: bool = False) -> StepResult:
        said: list[Sampled] = []
        for new in plan.new:
            self.tokens[new.seq], self.period[new.seq] = list(new.token_ids), new.prompt_tokens
        for work in plan.work:
            tokens = self.tokens[work.seq]
            for guess in (*work.draft, None) if work.sample else ():
                said.append(Sampled(work.seq, tokens[-self.period[work.seq]]))
                tokens.append(said[-1].token_id)
                if tokens[-1] != guess:
                    break
        return StepResult(plan.step, tuple(said))


HOW = Speculation(
    method="ngram", num_speculative_tokens=4, prompt_lookup_max=3, prompt_lookup_min=2
)


def copying(**more: Any) -> Bench:
    return Bench(config(speculation=HOW, max_batched_tokens=32, **more), model=Copying)


def test_a_copy_comes_five_tokens_at_a_time() -> None:
    """Where nothing repeats yet it comes token by token, one step ahead."""
    bench = copying()
    words = [5, 6, 7, 8, 9, 10, 11]
    bench.submit(prepared("a", words, max_tokens=22))
    bench.run()
    assert bench.tokens["a", 0] == [*words * 3, 5]
    drafts = [work.draft for plan in bench.log for work in plan.work if work.draft]
    assert drafts[0] == (8, 9, 10, 11)
    assert len(drafts[-1]) < 4  # not past the end
    assert len(bench.log) <= 10
    tally = bench.policy.tally
    assert tally.accepted_tokens == tally.drafted_tokens == sum(map(len, drafts))
    assert tally.generated_tokens == 22
    bench.assert_empty()


def test_who_repeats_nothing_is_planned_one_step_ahead() -> None:
    bench = Bench(config(speculation=HOW, max_batched_tokens=32))
    request = prepared("a", [3, 4, 5, 6, 7, 8], ignore_eos=True, max_tokens=4)
    bench.submit(request)
    bench.plan()
    assert bench.plan() is not None
    bench.run()
    assert bench.tokens["a", 0] == oracle(request, 0)


def test_an_end_within_a_draft() -> None:
    """By a stop token, and by a stop string that the detokenizer finds; what was guessed behind it
    is not said."""
    bench = copying()
    bench.submit(prepared("a", [5, 6, 7, 8, 9], max_tokens=20, stop_token_ids=(8,), min_tokens=5))
    bench.submit(prepared("b", [5, 6, 7, 8, 9], max_tokens=40))
    while len(bench.tokens.get(("b", 0), ())) < 9:
        assert not bench.rests()
    bench.policy.stopped(Stopped("b", 0, 0, 7))
    bench.run()
    assert bench.tokens["a", 0] == [5, 6, 7, 8, 9, 5, 6, 7, 8]
    assert bench.finishes["a", 0].stop_token == 8
    assert bench.policy.requests["b"].sequences[0].output == [5, 6, 7, 8, 9, 5, 6]
    bench.assert_empty()


def test_a_draft_takes_no_block_and_no_place_from_others() -> None:
    """With room for little more than what is said, and steps of hardly more tokens than there are
    sequences."""
    bench = Bench(config(speculation=HOW, max_batched_tokens=5, room=Room((12,))), model=Copying)
    for number in range(4):
        bench.submit(prepared(f"r{number}", [20 + number, 6, 7, 8], max_tokens=12))
    bench.run()
    for number in range(4):
        assert bench.tokens[f"r{number}", 0] == [20 + number, 6, 7, 8] * 3
    assert all(sum(work.count for work in plan.work) <= 5 for plan in bench.log)
    bench.assert_empty()


def test_what_a_sequence_has_said_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often plans ask."""
    searched: list[str] = []

    def counting(said: str, count: int, longest: int, shortest: int) -> str:
        searched.append(said)
        return propose(said, count, longest, shortest)

    monkeypatch.setattr(lookup, "propose", counting)
    bench = copying()
    for number in range(3):
        bench.submit(prepared(f"r{number}", [20 + number, 6, 7, 8, 9, 10], max_tokens=15))
    bench.run()
    assert len(searched) == len(set(searched)) > 3
