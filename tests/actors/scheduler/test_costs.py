"""No step is long because of what callers ask for: what takes time is spread over steps, and nobody
is left out."""

import random
from typing import Any

import pytest

from thespis.actors.scheduler.costs import STEP_SECONDS, Costs, joining
from thespis.protocol.edges.scheduler_to_gpu_runner import StepPlan, Work
from thespis.protocol.requests.guide import Guide

from .bench import Bench, config, item, prepared
from .paged_model import oracle


def wide(max_batched_tokens: int = 64, attention_even: int = 1 << 20) -> Bench:
    """Room for everything but time."""
    return Bench(
        config(
            num_blocks=3000,
            max_model_len=1200,
            max_num_seqs=200,
            prefix_caching=False,
            max_batched_tokens=max_batched_tokens,
            attention_even=attention_even,
        )
    )


def asked(id: str, length: int, **options: Any) -> Any:
    return prepared(id, [2 + i % 7 for i in range(length)], ignore_eos=True, **options)


def steps(bench: Bench) -> list[StepPlan]:
    """All plans until everything is over."""
    first = len(bench.log)
    bench.run()
    return bench.log[first:]


def works_of(plan: StepPlan, seq: int) -> list[Work]:
    return [work for work in plan.work if work.seq == seq]


def test_chunks_shrink_as_the_context_grows_so_that_each_takes_about_as_long() -> None:
    bench = wide(attention_even=200)
    bench.submit(asked("long", 1000, max_tokens=2))
    chunks = [work for plan in steps(bench) for work in plan.work if work.start < 1000]
    looks = [
        sum(1 + position / 200 for position in range(work.start, work.start + work.count))
        for work in chunks
    ]
    assert sum(work.count for work in chunks) == 1000
    assert chunks[0].count > 3 * chunks[-2].count
    assert max(looks) < 64 + (1 + 1000 / 200)  # less than one token too many


def test_the_least_chunk_keeps_long_contexts_going() -> None:
    bench = wide(attention_even=1)
    bench.submit(asked("long", 900, max_tokens=2))
    assert {
        work.count
        for plan in steps(bench)
        for work in plan.work
        if work.start > 200 and work.count > 1
    } <= {8, 4}


def test_affordable_is_what_the_same_span_costs() -> None:
    costs = Costs(config(max_batched_tokens=512, attention_even=768))
    for start in (0, 100, 4000):
        for share in (0.3, 1.0):
            count = costs.affordable(start, share)
            assert count == 64 or costs.span(start, count - 1) <= share <= costs.span(start, count)
    assert costs.affordable(0, 1.0, scored=True) < costs.affordable(0, 1.0) / 2 + 32


@pytest.mark.parametrize(
    "sampling",
    [
        {},
        {"logit_bias": dict.fromkeys(range(300), 1.0)},
        {"bad_words_ids": tuple((token, token) for token in range(500))},
        {"allowed_token_ids": tuple(range(2, 900))},
        {"structured_outputs": Guide("regex", "a", STEP_SECONDS / 3, 0.0)},
    ],
)
def test_a_crowd_of_newcomers_is_let_in_over_several_steps(sampling: dict[str, Any]) -> None:
    bench = wide(max_batched_tokens=512)
    requests = [asked(f"r{n}", 3, max_tokens=2, **sampling) for n in range(100)]
    bench.submit(*requests)
    plans = steps(bench)
    for plan in plans:
        assert len(plan.new) * joining(requests[0], 3) <= 1 + joining(requests[0], 3)
    assert sum(len(plan.new) for plan in plans) == 100
    assert all(bench.tokens[request.id, 0] == oracle(request, 0) for request in requests)


def test_a_guide_that_takes_longer_than_a_step_comes_without_another_prompt() -> None:
    bench = wide()
    bench.submit(asked("prompt", 150, max_tokens=2, arrival=0.0))
    slow = Guide("regex", "a", 2 * STEP_SECONDS, 0.0)
    bench.submit(
        *(
            asked(f"slow{n}", 3, max_tokens=2, arrival=1.0 + n, structured_outputs=slow)
            for n in range(3)
        )
    )
    bench.submit(asked("last", 3, max_tokens=2, arrival=9.0))
    guided = [
        plan for plan in steps(bench) if any(new.sampling.structured_outputs for new in plan.new)
    ]
    assert [len(plan.new) for plan in guided] == [1, 1, 1]
    assert all(sum(work.count for work in plan.work if work.count > 1) == 3 for plan in guided)
    assert set(bench.closed) == {"prompt", "slow0", "slow1", "slow2", "last"}


def test_costly_constraints_take_turns_and_free_streams_never_wait_for_them() -> None:
    bench = wide()
    costly = Guide("regex", "a", 0.0, STEP_SECONDS / 8)
    bench.submit(*(asked(f"g{n}", 3, max_tokens=40, structured_outputs=costly) for n in range(12)))
    bench.submit(asked("free", 3, max_tokens=40))
    plans = steps(bench)
    numbers = {new.seq: new.sampling.structured_outputs for plan in plans for new in plan.new}
    begun = next(at for at, plan in enumerate(plans) if len(plan.work) >= 5 and not plan.new)
    waits = dict.fromkeys(numbers, 0)
    for plan in plans[begun : begun + 30]:
        decoding = [work.seq for work in plan.work]
        assert sum(numbers[seq] is not None for seq in decoding) <= 4
        for seq in waits:
            waits[seq] = 0 if seq in decoding else waits[seq] + 1
            assert waits[seq] <= (3 if numbers[seq] else 0)
    assert len(bench.closed) == 13


def test_one_whose_every_token_takes_more_than_its_part_goes_on_all_the_same() -> None:
    bench = wide()
    bench.submit(
        asked(
            "slow", 3, max_tokens=9, structured_outputs=Guide("regex", "a", 0.0, 9 * STEP_SECONDS)
        )
    )
    bench.run()
    assert len(bench.tokens["slow", 0]) == 9


def test_a_span_that_must_stay_whole_is_computed_at_any_context() -> None:
    bench = wide(attention_even=10)
    tokens = [3] * 500 + [0] * 60 + [3] * 5
    bench.submit(
        prepared("r", tokens, (item("owl", 500, 60),), unbroken=((500, 560),), max_tokens=3)
    )
    bench.run()
    (span,) = (work for plan in bench.log for work in plan.work if work.start == 500)
    assert span.count >= 60


def test_prompts_get_their_part_of_a_step_however_many_decode() -> None:
    bench = wide(attention_even=1)
    rng = random.Random(1)
    bench.submit(
        *(
            asked(f"d{n}", rng.randrange(90, 100), max_tokens=200, arrival=float(n))
            for n in range(20)
        )
    )
    for _ in range(400):
        bench.plan()
        bench.answer()
    bench.submit(asked("new", 100, max_tokens=2, arrival=99.0))
    for _ in range(40):
        bench.plan()
        bench.answer()
    assert "new" in bench.closed
