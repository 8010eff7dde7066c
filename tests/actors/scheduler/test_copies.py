"""What of a block may be copied: nothing that no step has computed, and never all of it."""

import pytest

from thespis.protocol.edges.detokenizer_to_scheduler import Stopped
from thespis.protocol.requests.prepared import Item, Span

from .bench import Bench, prepared
from .paged_model import oracle

LONG = [2 + i % 9 for i in range(17)]


def _asked_again(bench: Bench, said: int) -> None:
    """A chat goes on from an answer that a stop string has ended."""
    tokens = [*LONG, *bench.tokens["one", 0][:said], 5]
    request = prepared("two", tokens, ignore_eos=True)
    bench.submit(request)
    bench.run()
    assert bench.tokens["two", 0] == oracle(request, 0)
    bench.assert_empty()


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_stop_string_found_while_a_sequence_is_computed_anew_leaves_what_was_computed(
    steps: int,
) -> None:
    """Its text had come before the runner died."""
    bench = Bench()
    bench.submit(prepared("one", LONG, max_tokens=30, ignore_eos=True))
    while len(bench.tokens.get(("one", 0), [])) < 4:
        bench.plan()
        bench.answer()
    bench.lose_runner()
    bench.join_runner()
    for _ in range(steps):
        bench.plan()
        bench.answer()
    bench.policy.stopped(Stopped("one", 0, 0, 3))
    bench.run()
    _asked_again(bench, 3)


def test_a_stop_string_may_end_a_short_sequence_that_waits() -> None:
    """It holds no block, of no table."""
    bench = Bench()
    bench.submit(prepared("one", LONG[:1], max_tokens=30, ignore_eos=True))
    while len(bench.tokens.get(("one", 0), [])) < 2:
        bench.plan()
        bench.answer()
    bench.lose_runner()
    bench.join_runner()
    bench.policy.stopped(Stopped("one", 0, 0, 2))
    bench.run()
    bench.assert_empty()


def test_of_a_block_that_goes_by_another_name_all_but_the_last_is_copied() -> None:
    """Of two prompts the same rows of an item fill a block, behind which it is cut differently."""
    bench = Bench()
    whole = prepared("one", [0] * 5 + LONG[:4], (Item("cat", "image", 5, (Span(0, 5),)),))
    spans = Span(0, 4), Span(5, 1, 4)
    parted = prepared("two", [0] * 4 + [4, 0] + LONG[:4], (Item("cat", "image", 5, spans),))
    for request in (whole, parted):
        bench.submit(request)
        bench.run()
        assert bench.tokens[request.id, 0] == oracle(request, 0)
    assert bench.closed["two"].usage.cached_tokens == 3
    bench.assert_empty()


def test_what_is_said_again_is_the_newest_again() -> None:
    """Its block is not kept, since an equal one is: that is copied from then on."""
    bench = Bench()
    for name, last in (("one", 7), ("two", 8), ("again", 7)):
        bench.submit(prepared(name, [*LONG[:5], last], max_tokens=1))
        bench.run()
    request = prepared("on", [*LONG[:5], 7, *bench.tokens["again", 0], 5])
    bench.submit(request)
    bench.run()
    assert bench.tokens["on", 0] == oracle(request, 0)
    assert bench.closed["on"].usage.cached_tokens == 6
    bench.assert_empty()
