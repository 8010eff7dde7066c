"""What who watches is told of requests in the scheduler."""

from thespis.actors.scheduler import view
from thespis.protocol.edges.view import MOST_REQUESTS, RequestSeen

from .bench import Bench, config, item, prepared

TEXT = [5, 6, 7, 8, 9]


def told(bench: Bench) -> dict[str, RequestSeen]:
    return {one.id: one for one in view.seen(bench.policy.requests.values()).requests}


def stages(bench: Bench) -> dict[str, str]:
    return {id: one.stage for id, one in told(bench).items()}


def test_a_request_is_queued_then_prefilled_then_decoded_then_gone() -> None:
    bench = Bench(config(max_batched_tokens=4))
    bench.time = 3.0
    bench.submit(prepared("r", TEXT, ignore_eos=True, max_tokens=3, arrival=2.0))
    one = told(bench)["r"]
    assert (one.stage, one.since, one.done, one.of) == ("queue", 3.0, 0, 5)
    assert (one.arrival, one.client, one.past) == (2.0, "client-a.1", ())
    bench.time = 4.0
    bench.plan()
    one = told(bench)["r"]
    assert (one.stage, one.since, one.done, one.of) == ("prefill", 4.0, 4, 5)
    assert [timing.stage for timing in one.past] == ["queue"]
    while stages(bench) == {"r": "prefill"}:
        bench.plan()
        bench.answer()
    one = told(bench)["r"]
    assert (one.stage, one.done, one.of) == ("decode", 1, 3)
    assert [timing.stage for timing in one.past] == ["queue", "prefill"]
    assert one.since == one.past[-1].end
    bench.run()
    assert stages(bench) == {}


def test_who_waits_for_the_encoder_is_told_so() -> None:
    bench = Bench(encoder=False)
    bench.submit(prepared("r", [1, 2, 0, 0, 3], (item("k", 2, 2),)))
    bench.plan()
    assert stages(bench) == {"r": "encode wait"}
    bench.give_all()
    while bench.plan() is not None:
        pass
    assert stages(bench) == {"r": "prefill"}


def test_who_had_tokens_and_lost_the_runner_is_computed_again() -> None:
    bench = Bench()
    bench.submit(prepared("r", TEXT, ignore_eos=True, max_tokens=9))
    for _ in range(3):
        bench.plan()
        bench.answer()
    assert stages(bench) == {"r": "decode"}
    bench.lose_runner()
    assert told(bench)["r"].stage == "recompute"
    assert told(bench)["r"].since is None
    bench.join_runner()
    bench.plan()
    while stages(bench) == {"r": "recompute"}:
        bench.plan()
        bench.answer()
    assert stages(bench) == {"r": "decode"}


def test_the_oldest_are_told_and_no_more_than_so_many() -> None:
    bench = Bench()
    bench.submit(*(prepared(f"r{number}", TEXT) for number in range(MOST_REQUESTS + 3)))
    assert list(told(bench)) == [f"r{number}" for number in range(MOST_REQUESTS)]
