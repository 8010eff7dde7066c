"""Blocks behind a window go back while a sequence lives, and are found again; states are found
where a snapshot was taken."""

import sys
from itertools import count

import pytest

from thespis.actors.scheduler.blocks import BlockPool
from thespis.actors.scheduler.books import Books, Hit, Holding
from thespis.protocol.config.room import Room
from thespis.protocol.edges.gpu_runner_to_scheduler import SequenceFault, StepResult
from thespis.protocol.edges.scheduler_to_gpu_runner import StepPlan

from .bench import Bench, NoModel, config, prepared
from .paged_model import oracle


def whole(books: Books, hashes: list[bytes]) -> Hit:
    return books.find(hashes, lambda _: True)


def compute(books: Books, holding: Holding, hashes: list[bytes], start: int, end: int) -> None:
    for position in range(start, end):
        assert not books.lacks(holding, position + 1)
        books.extend(holding, position + 1)
        books.publish(holding, hashes, position, position + 1)
        books.let_go(holding, position + 1)


def chain(length: int) -> list[bytes]:
    return [bytes([place, length]) for place in range(length)]


def test_a_window_holds_its_own_blocks_and_a_hit_needs_the_last_ones() -> None:
    books = Books(Room((41, 11)), (None, 4), 1)
    hashes = chain(30)
    holding = books.open(whole(books, hashes), 30, 1)
    assert holding is not None
    compute(books, holding, hashes, 0, 30)
    assert [pool.used for pool in books.pools] == [30, 3], (
        "the next token looks at itself and three before it"
    )
    books.close(holding)
    assert whole(books, hashes).tokens == 30
    assert [len(blocks) - blocks.count(0) for blocks in whole(books, hashes).blocks] == [30, 3]
    assert whole(books, hashes[:20]).tokens < 20, (
        "what a long prompt leaves behind is overwritten by the rest of it"
    )
    assert books.open(whole(books, hashes), 31, 1) is not None


def test_behind_a_window_the_earliest_is_kept_longest() -> None:
    """A beginning that others share survives the middle of a long prompt."""
    books = Books(Room((12,)), (3,), 1)
    hashes = chain(40)
    holding = books.open(Hit(), 40, 1)
    assert holding is not None
    compute(books, holding, hashes, 0, 40)
    assert whole(books, hashes[:6]).tokens == 6


def test_a_snapshot_is_what_a_hit_ends_at() -> None:
    books = Books(Room((41,), 4), (None,), 1)
    hashes = chain(20)
    holding = books.open(Hit(), 20, 20)
    assert holding is not None
    books.publish(holding, hashes, 0, 20)
    slot = books.snapshot(hashes[11])
    assert slot
    assert whole(books, hashes) == Hit(known=20), "it is not made yet"
    books.shelve(slot, hashes[11])
    hit = whole(books, hashes)
    assert (hit.tokens, hit.state, hit.known) == (12, slot, 20)
    assert not books.snapshot(hashes[11]), "it is kept already"
    others = [books.open(Hit(), 1, 1) for _ in range(2)]
    assert all(others), "snapshots give way to who runs"
    assert not whole(books, hashes).tokens
    assert books.open(Hit(), 1, 1) is None
    assert not books.snapshot(hashes[3]), "and are not taken where no slot is left"


def test_a_hit_of_the_only_free_slot_becomes_the_sequence_s_own() -> None:
    books = Books(Room((), 2), (), 4)
    slot = books.snapshot(b"a")
    books.shelve(slot, b"a")
    hit = whole(books, [b"a"])
    holding = books.open(hit, 9, 9)
    assert holding is not None
    assert holding.state == hit.state == slot
    assert not whole(books, [b"a"]).tokens


def test_a_snapshot_that_is_used_is_given_up_last() -> None:
    books = Books(Room((), 4), (), 4)
    for digest in (b"a", b"b"):
        books.shelve(books.snapshot(digest), digest)
    assert books.open(Hit(), 9, 9) is not None
    assert books.open(whole(books, [b"a"]), 9, 9) is not None
    assert whole(books, [b"a"]).tokens == 4
    assert not whole(books, [b"b"]).tokens


def test_of_what_is_free_the_end_of_a_prompt_goes_first() -> None:
    books = Books(Room((5,)), (None,), 1)
    hashes = chain(4)
    holding = books.open(Hit(), 4, 4)
    assert holding is not None
    books.publish(holding, hashes, 0, 4)
    books.close(holding)
    assert books.open(Hit(), 2, 2) is not None
    assert whole(books, hashes).tokens == 2


def test_a_block_is_found_by_the_first_content_that_it_was_published_with() -> None:
    pool = BlockPool(3)
    (block,) = pool.take(1)
    pool.publish(block, b"a")
    pool.publish(block, b"b")
    assert (pool.find(b"a"), pool.find(b"b"), pool.cached) == (block, 0, 1)


@pytest.mark.parametrize(("blocks", "longest"), [(4, 16), (5, sys.maxsize)])
def test_a_window_and_a_step_lie_in_one_more_block_than_they_fill(
    blocks: int, longest: int
) -> None:
    """Sixteen tokens, wherever they begin."""
    assert Books(Room((1 + blocks,)), (9,), 4).longest(8) == longest


def test_nobody_joins_while_one_that_runs_lacks_blocks() -> None:
    """`long` waits for those of `gone`, which a step in flight still writes; one that is left would
    do for `short`."""
    settings = config(
        windows=(16,), block_size=1, num_blocks=24, max_batched_tokens=8, prefix_caching=False
    )
    bench = Bench(settings, model=NoModel)
    bench.submit(prepared("gone", [5] * 8), prepared("long", [6] * 17, max_tokens=1))
    assert [bench.plan(), bench.plan()][1] is not None
    bench.policy.end(["gone"])
    bench.submit(prepared("short", [7], max_tokens=1))
    bench.answer()
    assert bench.policy.batch.leaving
    assert bench.plan() is None
    bench.answer()
    following = bench.plan()
    assert following is not None
    assert next(work.count for work in following.work) == 8
    bench.run()
    assert list(bench.closed) == ["long", "short"]


def with_states() -> tuple[Bench, StepPlan]:
    """A step in flight that has a snapshot taken, and fills two blocks."""
    bench = Bench(config(states=5), model=NoModel)
    bench.submit(prepared("r", [5] * 9))
    plan = bench.plan()
    assert plan is not None
    assert plan.work[0].snapshot
    return bench, plan


def kept(bench: Bench) -> list[int]:
    """Snapshots and blocks that a later prompt may find."""
    books = bench.policy.batch.books
    assert books is not None
    assert books.states is not None
    return [books.states.cached, *(pool.cached for pool in books.pools)]


def test_what_a_step_computes_is_kept() -> None:
    bench, _ = with_states()
    bench.answer()
    assert kept(bench) == [1, 2]


def test_the_state_of_a_faulty_sequence_is_not() -> None:
    bench, plan = with_states()
    bench.policy.apply(
        StepResult(plan.step, (), (), (SequenceFault(plan.work[0].seq, "not finite"),)), 1.0
    )
    assert kept(bench) == [0, 0]


def test_nothing_of_steps_in_flight_is_kept_after_a_reset_not_even_of_who_leaves() -> None:
    for leaves in (False, True):
        bench, _ = with_states()
        if leaves:
            bench.policy.batch.preempt(bench.policy.batch.running[0])
        bench.policy.batch.forget_prefixes()
        bench.answer()
        assert kept(bench) == [0, 0]


def test_nobody_is_preempted_while_blocks_are_on_their_way() -> None:
    bench = Bench(config(), model=NoModel)
    bench.submit(*(prepared(name, [5] * 4) for name in ("old", "young", "gone")))
    assert bench.plan() is not None
    batch = bench.policy.batch
    old, young, _ = batch.running
    bench.policy.end(["gone"])
    assert batch.victim(old) is None
    bench.answer()
    assert batch.victim(old) is young
    assert batch.victim(young) is None


def test_a_gemma_like_model_at_8k_holds_what_its_windows_need() -> None:
    """Five layers of window 512 for each that sees everything. While it decodes, at most 1.1 times
    what they look at."""
    tokens, window, size = 8192, 512, 16
    room = Room((1 + 600, 1 + 140))
    settings = config(
        windows=(None, window),
        room=room,
        block_size=size,
        max_batched_tokens=512,
        max_model_len=9000,
    )
    bench = Bench(settings, model=NoModel)
    bench.submit(
        prepared("long", [n % 50 + 2 for n in range(tokens)], max_tokens=200, ignore_eos=True)
    )
    need = tokens // size + 5 * window // size
    most = 0
    for step in count():
        while bench.plan() is not None:
            pass
        if not bench.answer():
            break
        running = bench.policy.batch.running
        if running and running[0].prefilled:
            held = (
                [pool.used for pool in bench.policy.batch.books.pools]
                if bench.policy.batch.books
                else []
            )
            most = max(most, held[0] + 5 * held[1])
            assert held[0] + 5 * held[1] <= 1.1 * (need + step)
    assert need < most <= 1.1 * (need + 200 // size)
    assert len(bench.tokens["long", 0]) == 200
    assert not bench.policy.tally.preemptions
    bench.assert_empty()


def test_prompts_go_on_from_snapshots_with_the_same_tokens() -> None:
    """The same prompt, one that parts from it in its middle, and the second of those that part
    there."""
    bench = Bench(config(windows=(None, 6), states=12, max_batched_tokens=16))
    common = [3, 4, 5, 6, 7, 8, 9, 10, 2, 3, 4, 5, 6, 7]
    tails = {
        "first": [5, 5, 6, 6, 7, 7],
        "same": [5, 5, 6, 6, 7, 7],
        "parts": [9, 8, 7, 6, 5],
        "again": [8, 8, 4, 4],
    }
    for id, tail in tails.items():
        request = prepared(id, common + tail, n=2)
        bench.submit(request)
        bench.run()
        for choice in range(2):
            assert bench.tokens[id, choice] == oracle(request, choice)
    cached = {id: close.usage.cached_tokens for id, close in bench.closed.items()}
    assert cached == {"first": 0, "same": 16, "parts": 0, "again": 12}
    counters = bench.policy.counters()
    assert counters["snapshot_hits"] == 4 + 2, (
        "the second choice of each goes on from its first one's prompt"
    )
    assert counters["snapshots_taken"] >= 4
    assert counters["state_snapshots"] <= counters["state_slots"] == 11
    bench.assert_empty()


def test_counters_tell_the_tables_apart() -> None:
    bench = Bench(config(windows=(None, 6), states=5))
    said = bench.policy.counters()
    assert (said["kv_blocks"], said["kv_blocks_full"], said["kv_blocks_window_6"]) == (64, 32, 32)
    assert said["state_slots"] == 4
    one = Bench(config()).policy.counters()
    assert not any(name in ("kv_blocks_full", "kv_blocks_window_6") for name in one)
    assert one["state_slots"] == 0
