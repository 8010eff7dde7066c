"""What is told of the sizes of steps: as many as were planned, each with its tokens."""

from prometheus_client import CollectorRegistry, Histogram

from thespis.actors.scheduler.outbox import STEP_TOKENS

from .bench import Bench, prepared


def test_the_sizes_of_steps_are_those_of_the_plans() -> None:
    bench = Bench()
    for tokens in (1, 9, 20):
        bench.submit(prepared(f"of-{tokens}", list(range(2, 2 + tokens)), ignore_eos=True))
        bench.run()
    oracle = Histogram("x", "x", buckets=STEP_TOKENS, registry=CollectorRegistry())
    for plan in bench.log:
        oracle.observe(sum(work.count for work in plan.work))
    samples = {
        sample.labels.get("le", sample.name): sample.value
        for sample in next(iter(oracle.collect())).samples
    }
    told = bench.policy.counters()
    assert told["step_tokens"] == samples["x_sum"]
    assert told["steps"] == samples["x_count"]
    assert [told[f"steps_upto_{most}"] for most in STEP_TOKENS] == [
        samples[f"{most}.0"] for most in STEP_TOKENS
    ]
