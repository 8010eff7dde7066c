"""Requests that come together begin together, where a moment's waiting is little beside what they
take."""

import pytest

from thespis.actors.scheduler.company import LEAST_SECONDS, MOST_SECONDS, PART
from thespis.protocol.edges.gpu_runner_to_scheduler import StepResult
from thespis.protocol.edges.scheduler_to_gpu_runner import StepPlan

from .bench import Bench, NoModel, config, prepared

TOKEN = 0.004
"""Seconds of each token of a step."""
LENGTH = 20
WAIT = PART * TOKEN * LENGTH
"""Of one prompt."""


class Slow(NoModel):
    token = TOKEN

    def run(self, plan: StepPlan, unreadable: bool = False) -> StepResult:
        result = super().run(plan, unreadable)
        return StepResult(
            result.step, result.sampled, seconds=self.token * sum(work.count for work in plan.work)
        )


class Quick(Slow):
    token = 0.00002


def rested(model: type[Slow] = Slow) -> Bench:
    """An engine that has answered a request, and knows what prompts take."""
    bench = Bench(
        config(num_blocks=2000, max_model_len=2000, max_batched_tokens=512, prefix_caching=False),
        model=model,
    )
    submit(bench, "before")
    bench.run()
    return bench


def submit(bench: Bench, id: str, length: int = LENGTH, streamed: bool = True) -> None:
    bench.submit(
        prepared(id, [2 + i % 7 for i in range(length)], ignore_eos=True, streamed=streamed)
    )


def began(plan: StepPlan | None) -> int:
    assert plan is not None
    return len(plan.new)


def test_who_comes_a_moment_later_is_in_the_first_step() -> None:
    bench = rested()
    arrived = bench.time
    submit(bench, "a")
    assert bench.plan() is None
    assert bench.policy.due == pytest.approx(arrived + WAIT)
    bench.time += 0.9 * WAIT
    submit(bench, "b")
    assert bench.plan() is None
    assert bench.policy.due == pytest.approx(
        arrived + 2 * WAIT
    )  # together they take longer, and may wait longer
    assert bench.policy.due is not None
    bench.time = bench.policy.due
    assert began(bench.plan()) == 2
    assert bench.policy.due is None
    bench.run()
    bench.assert_empty()


def test_who_is_alone_waits_for_a_small_part_of_its_prompt() -> None:
    bench = rested()
    submit(bench, "a", 1900)
    assert bench.plan() is None
    assert bench.policy.due == pytest.approx(bench.time + MOST_SECONDS)
    bench.run()
    assert "a" in bench.closed


def test_nobody_waits_beside_a_stream_or_after_a_pause() -> None:
    bench = rested()
    submit(bench, "a")
    bench.time += 1.0
    assert began(bench.plan()) == 1
    submit(bench, "b")
    bench.answer()
    assert began(bench.plan()) == 1
    bench.run()


def test_a_batch_that_nobody_reads_along_does_not_wait() -> None:
    bench = rested()
    submit(bench, "a", streamed=False)
    assert began(bench.plan()) == 1


def test_a_small_model_does_not_wait_for_less_than_a_clocks_tick() -> None:
    bench = rested(Quick)
    submit(bench, "a")
    assert PART * Quick.token * LENGTH < LEAST_SECONDS
    assert began(bench.plan()) == 1


def test_an_engine_that_knows_nothing_yet_does_not_wait() -> None:
    bench = Bench(config(prefix_caching=False), model=Slow)
    submit(bench, "a")
    assert began(bench.plan()) == 1


def test_what_is_cached_of_a_prompt_is_no_reason_to_wait() -> None:
    settings = config(num_blocks=2000, max_model_len=2000, max_batched_tokens=512)
    bench = Bench(settings, model=Slow)
    for last in (3, 4):
        arrived = bench.time
        tokens = [2 + i % 5 for i in range(400)] + [last] * LENGTH
        bench.submit(prepared(f"ends with {last}", tokens, ignore_eos=True))
        if last == 4:
            assert bench.plan() is None
            assert bench.policy.due == pytest.approx(arrived + WAIT)
        bench.run()
    assert bench.policy.tally.prefix_hit_tokens == 400
