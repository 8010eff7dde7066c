"""Items that are made when they are asked for: some at a time, let go of behind what is done."""

import msgspec

from thespis.actors.scheduler.arrival import opened
from thespis.actors.scheduler.windows import MOST_ITEMS, Windows, behind, windows_of
from thespis.protocol.edges.encoder_cache_to_scheduler import EmbeddingReady
from thespis.protocol.edges.scheduler_to_encoder_cache import Need
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.prepared import Item, Prepared

from .bench import Bench, config, item, prepared
from .paged_model import oracle


def pages(count: int, rows: int = 3, **fields: object) -> Prepared:
    """A document: a word, then pages with a word behind each."""
    tokens, items = [5], list[Item]()
    for number in range(count):
        one = item(f"page {number}", len(tokens), rows)
        items.append(msgspec.structs.replace(one, later=True))
        tokens += [0] * rows + [2 + number % 6]
    return prepared("r", tokens, tuple(items), **fields)  # type: ignore[arg-type]


def asked(request: Prepared, start: int, rows: int, tile: int | None = None) -> list[str]:
    return list(Windows(rows, tile).at(opened(request, (), 0.0, config(), 1), start))


def test_a_window_holds_what_the_next_steps_compute_and_one_at_least() -> None:
    request = pages(5)
    assert asked(request, 0, 7) == ["page 0", "page 1"]
    assert asked(request, 0, 1) == ["page 0"]
    assert asked(request, 4, 6) == ["page 1", "page 2"]
    assert asked(request, 6, 6) == ["page 1", "page 2"], "it is not over"
    assert asked(request, 21, 6) == []
    assert len(asked(pages(3 * MOST_ITEMS), 0, 1 << 20)) == MOST_ITEMS


def test_a_window_is_never_shorter_than_what_must_be_computed_at_once() -> None:
    request = pages(5, unbroken=((1, 12),))
    assert asked(request, 0, 1) == ["page 0", "page 1", "page 2"]


def test_a_window_is_never_shorter_than_a_tile() -> None:
    """Or the tile would never be computed: its last page was not asked for."""
    assert asked(pages(5), 0, 1, tile=8) == ["page 0", "page 1"]
    assert asked(pages(5), 8, 1, tile=8) == ["page 2", "page 3"]


def test_what_is_computed_at_once_and_has_no_room_is_refused_at_the_door() -> None:
    whole = pages(4, unbroken=((1, 12),))
    for rows, refused in ((8, True), (9, False)):
        bench = Bench(config(max_batched_tokens=16, store_bytes=4 * rows))
        bench.submit(whole)
        assert ("r" in bench.rejected) is refused


def test_a_page_that_is_there_twice_is_held_until_its_second_place() -> None:
    first, _, third = pages(3).items
    again = msgspec.structs.replace(first, spans=(*first.spans, *third.spans))
    items = (again, pages(3).items[1])
    request = opened(msgspec.structs.replace(pages(3), items=items), (), 0.0, config(), 1)
    assert behind(request, frozenset({"page 0", "page 1"}), 8) == {"page 1"}


def test_rows_of_a_window_fit_into_the_store_four_times() -> None:
    assert windows_of(config(max_batched_tokens=16, store_bytes=1 << 20)).rows == 32
    assert windows_of(config(max_batched_tokens=16, store_bytes=64)).rows == 4


def test_a_document_larger_than_the_store_is_read_page_by_page() -> None:
    """Of 12 pages of 3 rows there is room for five; each is asked for once, in order."""
    bench = Bench(config(max_batched_tokens=8, store_bytes=4 * 15, num_blocks=20))
    request = pages(12)
    most = 0
    bench.submit(request)
    for _ in range(100):
        bench.plan()
        bench.answer()
        held = [rows for need in bench.needs.values() for rows in need.rows]
        most = max(most, sum(held))
    assert bench.tokens["r", 0] == oracle(request, 0)
    keys = [key for need in bench.all_needs for key in need.keys]
    assert keys == [f"page {number}" for number in range(12)]
    assert all(need.later == tuple(sorted(need.keys)) for need in bench.all_needs)
    assert most <= 15
    bench.policy.acknowledge(["r"])
    bench.deliver()
    bench.assert_empty()


def test_the_first_page_is_computed_while_the_others_are_made() -> None:
    bench = Bench(config(max_batched_tokens=8), encoder=False)
    bench.submit(request := pages(4))
    for number in range(4):
        while bench.plan() is None and bench.answer():
            pass
        (holder,) = bench.needs
        before = len(bench.log)
        bench.give(holder, f"page {number}")
        assert bench.plan() is not None, "a page that is there is computed"
        assert len(bench.log) > before
    bench.run()
    assert bench.tokens["r", 0] == oracle(request, 0)


def test_a_page_that_comes_after_it_was_let_go_is_not_kept() -> None:
    bench = Bench(config(max_batched_tokens=4), encoder=True)
    bench.submit(pages(6))
    for _ in range(4):
        bench.plan()
        bench.answer()
    (seq,) = bench.policy.batch.running
    assert seq.holder is not None
    assert "page 0" not in seq.ready
    late = EmbeddingReady("page 0", (seq.holder,), BlobRef("page 0", 0, "float32", (3, 1)))
    bench.policy.ready(late, bench.time)
    assert "page 0" not in seq.ready


def test_a_document_whose_pages_are_being_made_lets_nobody_give_way() -> None:
    """Only one that has waited long may be waiting for the space that others hold."""
    bench = Bench(config(max_batched_tokens=8, num_blocks=17), encoder=False)
    bench.submit(pages(10, arrival=1.0))
    for _ in range(3):
        bench.plan()
        bench.answer()
    picture = prepared("picture", [5] * 30 + [0, 0, 5], (item("cat", 30, 2),), arrival=2.0)
    bench.submit(picture)
    bench.plan()
    held = {need.holder.split(".")[0] for need in bench.needs.values()}
    assert held == {"r", "picture"}
    assert bench.policy.due is not None
    bench.time = bench.policy.due
    bench.plan()
    assert {need.holder.split(".")[0] for need in bench.needs.values()} == {"r"}


def test_a_page_that_is_tried_alone_is_asked_for_like_any_other() -> None:
    """Nobody would make it otherwise."""
    bench = Bench(encoder=False)
    request = opened(pages(1), (), 0.0, config(), 1)
    bench.policy.media.try_alone(request.prepared.items[0])
    (need,) = bench.policy.outbox.encoder
    assert isinstance(need, Need)
    assert need.later == need.keys == ("page 0",)
