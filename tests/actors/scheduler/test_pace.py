"""Streams wait for a prompt's chunk as long as for two steps of their own, whatever a token of it
takes on this machine."""

from typing import Any

import pytest

from thespis.actors.scheduler.costs import STEP_SECONDS
from thespis.actors.scheduler.pace import PLAIN_STEPS, Pace
from thespis.protocol.config.roles import SchedulerConfig
from thespis.protocol.edges.gpu_runner_to_scheduler import StepResult
from thespis.protocol.edges.scheduler_to_gpu_runner import StepPlan

from .bench import Bench, NoModel, config, item, prepared

BASE, TOKEN = 0.080, 0.004
"""Seconds of a step, and of each of its tokens: a 0.5 B model on two cores; 512 tokens of a prompt
would take two."""


class Slow(NoModel):
    base, token = BASE, TOKEN

    def run(self, plan: StepPlan, unreadable: bool = False) -> StepResult:
        result = super().run(plan, unreadable)
        return StepResult(result.step, result.sampled, seconds=self.seconds(plan))

    def seconds(self, plan: StepPlan) -> float:
        return self.base + self.token * sum(work.count for work in plan.work)


class Quick(Slow):
    base, token = 0.0006, 0.00002


class Shared(Slow):
    """A 0.5 B model whose steps have one of two cores since `beside` was set."""

    base, token = 0.027, 0.0046
    beside = False

    def run(self, plan: StepPlan, unreadable: bool = False) -> StepResult:
        result = super().run(plan, unreadable)
        return StepResult(
            result.step, result.sampled, seconds=self.seconds(plan), beside=self.beside
        )

    def seconds(self, plan: StepPlan) -> float:
        tokens = sum(work.count for work in plan.work)
        return 0.022 + 0.0089 * tokens if self.beside else super().seconds(plan)


def bench(model: type[Slow]) -> Bench:
    settings: SchedulerConfig = config(
        num_blocks=9000,
        max_model_len=4000,
        max_num_seqs=16,
        prefix_caching=False,
        max_batched_tokens=512,
    )
    return Bench(settings, model=model)


def asked(id: str, length: int, **options: Any) -> Any:
    return prepared(id, [2 + i % 7 for i in range(length)], ignore_eos=True, **options)


def streams_and_then_prompts(model: type[Slow], streams: int = 4) -> tuple[Slow, list[StepPlan]]:
    """Plans with chunks, from when every stream is running."""
    made = bench(model)
    made.submit(*(asked(f"s{n}", 20, max_tokens=400) for n in range(streams)))
    for _ in range(20):
        made.plan()
        made.answer()
    first = len(made.log)
    made.submit(*(asked(f"p{n}", 1500, max_tokens=1, arrival=9.0) for n in range(2)))
    made.run()
    assert len(made.closed) == streams + 2
    assert isinstance(made.model, Slow)
    return made.model, [
        plan for plan in made.log[first:] if any(work.count > 1 for work in plan.work)
    ]


def test_a_step_with_a_chunk_takes_less_than_three_plain_ones() -> None:
    model, plans = streams_and_then_prompts(Slow)
    plain = BASE + 4 * TOKEN
    taken = [model.seconds(plan) for plan in plans]
    assert max(taken[2:]) <= 3 * plain, "two are planned before the first has been measured"
    assert sorted(taken)[len(taken) // 2] >= 1.8 * plain, "and no less is done than that allows"


def test_a_small_model_takes_whole_chunks_as_ever() -> None:
    model, plans = streams_and_then_prompts(Quick)
    assert max(sum(work.count for work in plan.work) for plan in plans) == 512
    assert all(model.seconds(plan) < STEP_SECONDS for plan in plans)


def test_beside_the_encoder_a_step_with_a_chunk_is_well_within_three_plain_ones() -> None:
    """A machine holds up one step in a hundred, and the longest gap is that one's."""
    made = bench(Shared)
    made.encoder = False
    model = made.model
    assert isinstance(model, Shared)
    made.submit(*(asked(f"s{n}", 20, max_tokens=400) for n in range(4)))
    for _ in range(20):
        made.plan()
        made.answer()
    plain = model.seconds(made.log[-1])
    model.beside = True
    made.submit(
        *(
            asked(f"p{n}", 600, items=(item(f"p{n}", 4, 400),), max_tokens=1, arrival=9.0)
            for n in range(2)
        )
    )
    first = len(made.log)
    for number in range(100):
        made.plan()
        made.answer()
        if number == 10:
            made.give_some(1)
    taken = [
        model.seconds(plan) for plan in made.log[first:] if any(w.count > 1 for w in plan.work)
    ]
    assert len(taken) > 50
    assert max(taken[2:]) <= 2.5 * plain


def test_a_prompt_alone_has_whole_steps() -> None:
    made = bench(Slow)
    made.submit(asked("p", 1500, max_tokens=2))
    made.run()
    counts = [work.count for plan in made.log for work in plan.work]
    assert counts[0] > 450, "all but what it takes to make it known"


@pytest.mark.parametrize("streams", [1, 4])
def test_the_first_streams_of_an_engine_are_not_held_up_by_a_prompt_that_came_with_them(
    streams: int,
) -> None:
    """No plain step has been measured, and there is none until the prompt is through."""
    made = bench(Slow)
    made.submit(
        *(asked(f"s{n}", 20, max_tokens=300) for n in range(streams)),
        asked("p", 3000, max_tokens=1, arrival=9.0),
    )
    made.run()
    assert len(made.closed) == streams + 1
    taken = [BASE + TOKEN * sum(work.count for work in plan.work) for plan in made.log]
    assert max(taken[2:]) <= 3 * (BASE + streams * TOKEN), (
        "two are planned before the first has been measured"
    )


def test_answers_that_nobody_reads_along_hold_up_no_prompt() -> None:
    """A batch has all its prompts computed first, in whole steps, and then all its tokens
    together."""
    made = bench(Slow)
    made.submit(*(asked(f"s{n}", 20, max_tokens=40, streamed=False) for n in range(4)))
    for _ in range(20):
        made.plan()
        made.answer()
    first = len(made.log)
    made.submit(
        *(asked(f"p{n}", 1500, max_tokens=1, arrival=9.0, streamed=False) for n in range(2))
    )
    made.run()
    taken = [
        sum(work.count for work in plan.work)
        for plan in made.log[first:]
        if any(work.count > 1 for work in plan.work)
    ]
    assert len(taken) <= 8
    assert min(taken[:-1]) > 450


def test_what_is_not_known_bounds_nothing_and_is_measured() -> None:
    pace = Pace()
    assert pace.beside_streams == pace.of_set_up == 1.0
    pace.learn(STEP_SECONDS / 2, 1.0, False)
    assert pace.beside_streams == 1.0, "a whole step is short"
    pace = Pace()
    pace.learn(2.0, 1.0, False)
    assert pace.beside_streams == 0.0, "a plain step, to see how long it takes"
    assert pace.of_set_up == pytest.approx(STEP_SECONDS / 2)
    pace.learn(0.5, 0.2, True)
    assert pace.beside_streams == 0.0, "this one was none"
    pace.learn(0.1, 0.0, True)
    assert pace.beside_streams == pytest.approx((PLAIN_STEPS - 1) * 0.1 / 2.0)


@pytest.mark.parametrize("slow", [1, 4])
def test_plain_steps_that_the_machine_held_up_teach_nothing(slow: int) -> None:
    """Whoever sends pictures makes them before, and each is decoded: then every step has a prompt,
    and no plain one follows."""
    pace = Pace()
    pace.learn(2.0, 1.0, False)
    pace.learn(0.9, 0.0, True)
    for _ in range(9 - slow):
        pace.learn(0.1, 0.0, True)
    before = pace.beside_streams
    for _ in range(slow):
        pace.learn(0.5, 0.0, True)
    assert pace.beside_streams == before == pytest.approx((PLAIN_STEPS - 1) * 0.1 / 2.0)


@pytest.mark.parametrize("slow", [6, 11])
def test_a_dozen_of_them_make_no_step_longer_than_three_quiet_ones(slow: int) -> None:
    """The readers of the first large bodies start just then, and the encoder begins behind it: no
    step has all cores again until it ends."""
    pace = Pace()
    pace.learn(2.0, 1.0, False)
    for seconds in (0.1,) * 16 + (0.25,) * slow:
        pace.learn(seconds, 0.0, True)
    assert 0.1 + pace.beside_streams * 2.0 <= 3 * 0.1
    for _ in range(9):
        pace.learn(0.13, 0.0, True, True)
    assert 0.13 + pace.beside_streams * 4.0 <= 3 * 0.1


def test_more_streams_make_plain_steps_longer() -> None:
    pace = Pace()
    pace.learn(2.0, 1.0, False)
    for seconds in (0.1,) * 20 + (0.2,) * 13:
        pace.learn(seconds, 0.0, True)
    assert pace.beside_streams == pytest.approx((PLAIN_STEPS - 1) * 0.2 / 2.0)


def test_one_step_that_the_machine_held_up_counts_little() -> None:
    pace = Pace()
    pace.learn(2.0, 1.0, False)
    for _ in range(5):
        pace.learn(0.1, 0.0, True)
    before = pace.beside_streams
    pace.learn(60.0, 1.0, False)
    pace.learn(60.0, 0.0, True)
    assert before / 2 < pace.beside_streams < before * 2
    for _ in range(20):
        pace.learn(0.1, 0.0, True)
        pace.learn(2.0, 1.0, False)
    assert pace.beside_streams == pytest.approx(before, rel=0.1)


def test_beside_the_encoder_streams_wait_for_as_long_as_without_it() -> None:
    """Steps have fewer cores then; what is let pass is counted in the streams' own time."""
    pace = Pace()
    for _ in range(9):
        pace.learn(2.0, 1.0, False)
        pace.learn(0.1, 0.0, True)
    alone = pace.beside_streams
    pace.learn(0.15, 0.0, True, True)
    assert pace.beside_streams == pytest.approx((PLAIN_STEPS * 0.1 - 0.15) / 4.0), (
        "a prompt beside it has not been measured"
    )
    pace.learn(0.55, 0.1, True, True)
    assert pace.beside_streams == pytest.approx((PLAIN_STEPS * 0.1 - 0.15) / 4.0)
    pace.learn(0.35, 0.1, True, True)
    assert pace.beside_streams == pytest.approx((PLAIN_STEPS * 0.1 - 0.15) / 3.5)
    pace.learn(0.1, 0.0, True)
    assert pace.beside_streams == pytest.approx(alone)


def test_the_encoder_is_reckoned_with_before_it_shows() -> None:
    pace = Pace()
    pace.learn(0.1, 0.0, True)
    pace.learn(0.3, 0.1, True)
    quiet = pace.beside_streams
    pace.expect(True)
    assert pace.beside_streams == quiet, "it has cores of its own, as far as is known"
    pace.learn(0.16, 0.0, True, True)
    beside = pace.beside_streams
    assert beside < quiet
    pace.learn(0.1, 0.0, True)
    assert pace.beside_streams == quiet
    pace.expect(False)
    assert pace.beside_streams == quiet
    pace.expect(True)
    assert pace.beside_streams == beside


def test_of_a_small_model_only_long_chunks_share_their_cores() -> None:
    """Its plain steps have one core with or without the encoder, and are never told to be beside
    it."""
    pace = Pace()
    pace.learn(0.002, 0.0, True)
    pace.learn(0.022, 1.0, True)
    pace.learn(0.042, 1.0, True, True)
    assert pace.beside_streams == pytest.approx(0.016 / 0.04), "what nobody notices"
    pace.learn(0.002, 0.0, True)
    assert pace.beside_streams == pytest.approx(0.016 / 0.02)


def test_an_empty_step_teaches_nothing() -> None:
    pace = Pace()
    pace.learn(0.0001, 0.0, False)
    pace.learn(2.0, 1.0, False)
    assert pace.beside_streams == 0.0


@pytest.mark.parametrize(("model", "cut"), [(Quick, False), (Slow, True)])
def test_late_positions_are_cut_fine_where_a_step_would_take_long(
    model: type[Slow], cut: bool
) -> None:
    """Of a prompt alone: a full step of the quick one is over in a third of what a step may
    take."""
    settings = config(
        num_blocks=9000, max_model_len=4000, prefix_caching=False, max_batched_tokens=512,
        attention_even=768
    )  # fmt: skip
    made = Bench(settings, model=model)
    made.submit(asked("first", 600, max_tokens=1))
    made.run()
    first = len(made.log)
    made.submit(asked("long", 3000, max_tokens=1, arrival=1.0))
    made.run()
    counts = [work.count for plan in made.log[first:] for work in plan.work]
    assert sum(counts) == 3000
    assert (min(counts[:-1]) < 512) is cut


@pytest.mark.parametrize("streams", [1, 8])
def test_many_that_come_together_beside_a_stream_all_speak_soon(streams: int) -> None:
    """While they join, every step has a prompt, and no plain one tells how long that of more
    streams takes."""
    settings = config(
        num_blocks=9000,
        max_model_len=4000,
        max_num_seqs=256,
        prefix_caching=False,
        max_batched_tokens=512,
    )
    made = Bench(settings, model=Slow)
    made.submit(*(asked(f"s{n}", 20, max_tokens=600) for n in range(streams)))
    for _ in range(20):
        made.plan()
        made.answer()
    first = len(made.log)
    made.submit(*(asked(f"p{n}", 4, max_tokens=300, arrival=9.0) for n in range(200)))
    while len(made.log[-1].work) < streams + 200 and len(made.log) < first + 20:
        made.plan()
        made.answer()
    assert len(made.log[-1].work) == streams + 200
    for plan in made.log[first + 2 :]:
        assert BASE + TOKEN * sum(work.count for work in plan.work) <= 3 * (
            BASE + TOKEN * len(plan.work)
        )
