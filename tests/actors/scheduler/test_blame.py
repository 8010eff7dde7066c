"""Poison: a request or an item that ends the process each time it is run is refused; nobody else
ever is."""

import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.actors.quarantine.fingerprints import fingerprint_of_prepared
from thespis.actors.quarantine.records import KEPT_SECONDS
from thespis.protocol.edges.control import Excuse
from thespis.protocol.edges.encoder_cache_to_scheduler import Lost
from thespis.protocol.edges.scheduler_to_encoder_cache import Need
from thespis.protocol.requests.pooling import PoolingParams
from thespis.protocol.requests.prepared import Prepared

from .bench import Bench, config, item, prepared
from .paged_model import oracle

POISON = 11
"""A prompt token that ends the runner of these tests."""
CALM_ANSWERS = 16
"""Steps between two random kills: an operator or a chaos test is slower than the work that one
suspect has to repeat."""


def crash(bench: Bench, outside: bool = False) -> None:
    bench.plans.clear()
    bench.reads.clear()
    bench.deaths += 1
    bench.policy.runner_lost(bench.deaths, bench.time, outside)
    bench.deliver()
    bench.join_runner()


def is_killer(bench: Bench) -> bool:
    """Whether the oldest plan makes the runner compute the poison."""
    if not bench.plans:
        return False
    sequences = {part.work.seq: part.seq for part in bench.policy.flights.steps[0].parts}
    return any(
        POISON in sequences[work.seq].prompt[work.start : work.start + work.count]
        for work in bench.plans[0].work
    )


def run(bench: Bench, dice: random.Random | None = None) -> int:
    """To the end, with a runner that dies of the poison, and now and then for no reason; returns
    its own deaths."""
    deaths = answers = 0
    for _ in range(5000):
        while bench.plan() is not None:
            bench.check_blocks()
        if is_killer(bench):
            deaths += 1
            crash(bench)
            answers = 0
        elif dice is not None and answers > CALM_ANSWERS and dice.random() < 0.2:
            crash(bench, outside=True)
            answers = 0
        elif bench.rests():
            return deaths
        else:
            answers += 1
        bench.check_blocks()
    raise AssertionError("it never came to rest")


def test_a_poisonous_request_is_refused_and_its_neighbours_get_their_answers() -> None:
    bench = Bench()
    innocent = [
        prepared(f"r{n}", [3 + n, 4, 5], max_tokens=9, ignore_eos=True, n=1 + n % 2)
        for n in range(5)
    ]
    bench.submit(*innocent[:3], prepared("bad", [5, 6, POISON, 7]), *innocent[3:])
    assert run(bench) <= 4
    assert bench.rejected.keys() == {"bad"}
    assert bench.rejected["bad"].failure.code == "poison"
    for request in innocent:
        for choice in range(request.sampling.n):
            assert bench.tokens[request.id, choice] == oracle(request, choice)
    bench.assert_empty()


def test_the_deaths_of_what_is_refused_are_excused_and_no_other() -> None:
    bench = Bench()
    bench.submit(prepared("good", [3, 4, 5], max_tokens=9, ignore_eos=True))
    bench.plan()
    crash(bench)
    bench.run()
    assert bench.policy.outbox.director == []
    bench.submit(prepared("bad", [5, POISON]), prepared("neighbour", [3, 4], max_tokens=9))
    deaths = run(bench)
    assert bench.policy.outbox.director == [Excuse("gpu-runner", tuple(range(2, 2 + deaths)))]


def test_alone_it_is_refused_after_two_deaths_and_again_for_ten_minutes() -> None:
    bench = Bench()
    bench.submit(prepared("bad", [POISON, 7], seed=1))
    assert run(bench) == 2
    bench.submit(prepared("same", [POISON, 7], seed=2))
    assert bench.rejected["same"].failure.code == "poison"
    bench.time += KEPT_SECONDS
    bench.submit(prepared("later", [POISON, 7], seed=3))
    assert "later" not in bench.rejected


def test_equal_requests_are_refused_together() -> None:
    bench = Bench()
    bench.submit(*(prepared(f"bad{n}", [POISON, 7], seed=n) for n in range(3)))
    assert run(bench) == 4
    assert bench.rejected.keys() == {"bad0", "bad1", "bad2"}


def test_what_is_made_of_the_same_tokens_is_part_of_the_work() -> None:
    text = prepared("text", [POISON, 7])
    wanted = (None, PoolingParams(), PoolingParams(task="token_embed"))
    assert len(
        {
            fingerprint_of_prepared(msgspec.structs.replace(text, pooling=pooling))
            for pooling in wanted
        }
    ) == len(wanted)


def test_suspects_run_alone_one_after_the_other_and_are_cleared_past_the_place() -> None:
    bench = Bench()
    requests = [prepared(f"r{n}", [3 + n, 4, 5], max_tokens=20, ignore_eos=True) for n in range(3)]
    bench.submit(*requests)
    for _ in range(2):
        bench.plan()
        crash(bench)
    assert bench.policy.counters()["suspects"] == 3
    together = set()
    while bench.policy.counters()["suspects"]:
        while bench.plan() is not None:
            together.add(
                frozenset(
                    part.seq.request.id
                    for flight in bench.policy.flights.steps
                    for part in flight.parts
                )
            )
        bench.answer()
    assert {frozenset({r.id}) for r in requests} <= together
    bench.run()
    assert all(bench.tokens[r.id, 0] == oracle(r, 0) for r in requests)
    bench.assert_empty()


def test_a_suspect_that_ends_leaves_the_way_to_the_others() -> None:
    bench = Bench()
    requests = [prepared(f"r{n}", [3 + n, 4, 5], max_tokens=9) for n in range(3)]
    bench.submit(*requests)
    for _ in range(2):
        bench.plan()
        crash(bench)
    bench.policy.end(["r0"])
    bench.run()
    assert bench.closed.keys() == {"r1", "r2"}
    assert not len(bench.policy.blame.requests)
    bench.assert_empty()


def _random_request(dice: random.Random, index: int) -> Prepared:
    tokens = [dice.randrange(2, 8) for _ in range(dice.randrange(1, 20))]
    items = (item(dice.choice("cde"), len(tokens), 3),) if dice.random() < 0.3 else ()
    tokens += [0] * (3 * len(items)) + [dice.randrange(2, 8)]
    return prepared(
        f"r{index}",
        tokens,
        items,
        arrival=float(index),
        max_tokens=dice.randrange(1, 20),
        n=dice.choice([1, 1, 2]),
    )


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 1 << 32), st.booleans())
def test_random_kills_never_refuse_anybody_but_the_poison(seed: int, poisoned: bool) -> None:
    dice = random.Random(seed)
    bench = Bench(
        config(
            num_blocks=dice.randrange(16, 40),
            block_size=4,
            max_batched_tokens=dice.randrange(6, 20),
        )
    )
    requests = [_random_request(dice, index) for index in range(dice.randrange(1, 9))]
    bad = prepared("bad", [2, POISON, 3], arrival=dice.random() * 9)
    everybody = [*requests, bad] if poisoned else requests
    dice.shuffle(everybody)
    bench.submit(*everybody)
    deaths = run(bench, dice)
    assert set(bench.rejected) == ({"bad"} if poisoned else set())
    assert deaths <= 5  # the restart budget
    for request in requests:
        for choice in range(request.sampling.n):
            assert bench.tokens[request.id, choice] == oracle(request, choice)
    bench.assert_empty()


def encoder_dies(bench: Bench, outside: bool = False) -> None:
    """And its successor knows no features: it says `Lost`, and the client sends the request
    again."""
    bench.needs.clear()
    bench.given.clear()
    bench.reads.clear()
    bench.deaths += 1
    bench.policy.encoder_lost(bench.deaths, bench.time, outside)
    bench.policy.outbox.encoder.clear()
    bench.policy.encoder_joined()
    bench.deliver()


def again(bench: Bench, requests: dict[str, Prepared], lost: int) -> int:
    """The client's part: what lost its media comes back."""
    for message in bench.lost[lost:]:
        old = requests[message.id]
        requests[message.id] = msgspec.structs.replace(old, attempt=old.attempt + 1)
        bench.submit(requests[message.id])
    return len(bench.lost)


def encode(bench: Bench, requests: dict[str, Prepared], features: set[str], bad: str) -> int:
    """An encoder that dies of one item, to the end; returns its deaths."""
    deaths = lost = 0
    bench.policy.encoder_joined()
    for _ in range(400):
        while bench.plan() is not None:
            pass
        asked = [
            (need, key)
            for need in list(bench.needs.values())
            for key in need.keys
            if (need.holder, key) not in bench.given
        ]
        missing = [(need, key) for need, key in asked if key not in features]
        if missing:
            _, key = missing[0]
            features.add(key)  # what comes again brings its features
            holders = tuple(n.holder for n, k in asked if k == key)
            bench.policy.lost(Lost(key, holders))
            bench.deliver()
            lost = again(bench, requests, lost)
        elif any(key == bad for _, key in asked):
            deaths += 1
            features.clear()
            encoder_dies(bench)
        elif asked:
            give(bench, *asked[0])
        elif not bench.answer() and bench.plan() is None:
            return deaths
    raise AssertionError("it never came to rest")


def give(bench: Bench, need: Need, key: str) -> None:
    bench.give(need.holder, key)
    bench.deliver()


def test_an_item_that_ends_the_encoder_is_refused_and_its_neighbours_are_not() -> None:
    bench = Bench(encoder=False)
    keys = ["a", "bad", "c"]
    requests = {
        f"r{n}": prepared(f"r{n}", [5, 0, 0, 6], (item(key, 1, 2),), max_tokens=4)
        for n, key in enumerate(keys)
    }
    requests["both"] = prepared(
        "both", [7, 0, 0, 6, 0, 0], (item("c", 1, 2), item("bad", 4, 2)), max_tokens=4
    )
    bench.submit(*requests.values())
    assert encode(bench, dict(requests), set(keys), "bad") <= 5
    assert bench.rejected.keys() == {"r1", "both"}
    assert all(answer.failure.code == "poison" for answer in bench.rejected.values())
    assert bench.closed.keys() == {"r0", "r2"}
    bench.submit(prepared("other words", [8, 0, 0], (item("bad", 1, 2),)))
    assert bench.rejected["other words"].failure.code == "poison"
    bench.assert_empty()


def test_what_is_held_against_an_item_outlives_its_request_and_is_no_ones() -> None:
    """An hour of kills saw it as something that an ended request had left behind."""
    bench = Bench(encoder=False)
    bench.policy.encoder_joined()
    for attempt in range(2):
        one = prepared("r", [5, 0, 0, 6], (item("a", 1, 2),), max_tokens=4)
        bench.submit(msgspec.structs.replace(one, attempt=attempt))
        bench.plan()
        encoder_dies(bench, outside=True)
    bench.policy.end(["r"])
    bench.deliver()
    counters = bench.policy.counters()
    assert (counters["suspects"], counters["suspect_items"]) == (0, 1)


def answer_all(bench: Bench, bad: str = "") -> tuple[int, list[str]]:
    """A detokenizer that dies when it is told of `bad`, and else has told everybody's client; its
    deaths, and who was told."""
    deaths, told = 0, []
    while bench.policy.requests:
        open = [opened.id for opened in bench.opened if opened.id in bench.policy.requests]
        assert open, "nobody is told of anything"
        if bad in open:
            deaths += 1
            bench.lose_detokenizer(outside=False)
        else:
            assert bench.closed.keys() >= set(open)
            assert all(
                bench.tokens[id, 0] == oracle(bench.policy.requests[id].prepared, 0) for id in open
            )
            told += open
            bench.policy.end(open)
            bench.deliver()
    return deaths, told


def test_a_request_that_ends_the_detokenizer_is_refused_and_the_others_are_told_whole() -> None:
    bench = Bench()
    bench.submit(*(prepared(f"r{n}", [5, 6, n], max_tokens=4) for n in range(4)))
    bench.run()
    deaths, told = answer_all(bench, "r1")
    assert deaths == 4
    assert bench.rejected.keys() == {"r1"}
    assert bench.rejected["r1"].failure.code == "poison"
    assert sorted(told) == ["r0", "r2", "r3"]
    assert bench.policy.blame.suspects == 0
    bench.submit(prepared("the same again", [5, 6, 1], max_tokens=4))
    assert bench.rejected["the same again"].failure.code == "poison"


def test_who_comes_while_a_suspect_is_told_alone_waits_for_his_turn() -> None:
    bench = Bench()
    bench.submit(prepared("first", [5, 6], max_tokens=4), prepared("second", [5, 7], max_tokens=4))
    for _ in range(2):
        bench.lose_detokenizer(outside=False)
    bench.submit(prepared("third", [5, 8], max_tokens=4))
    bench.run()
    assert (
        {opened.id for opened in bench.opened}
        == {name[0] for name in bench.tokens}
        == bench.closed.keys()
        == {"first"}
    )
    for number, id in enumerate(("first", "second")):
        bench.policy.end([id])
        bench.deliver()
        assert [opened.id for opened in bench.opened][number + 1 :] == (
            ["second"] if id == "first" else ["third"]
        )
    assert bench.tokens["third", 0] == oracle(prepared("third", [5, 8], max_tokens=4), 0)


def test_kills_of_the_detokenizer_refuse_nobody() -> None:
    bench = Bench()
    bench.submit(prepared("r", [5, 6], max_tokens=4))
    bench.run()
    for _ in range(9):
        bench.lose_detokenizer(outside=True)
    assert answer_all(bench) == (0, ["r"])
    assert not bench.rejected
