"""Where sequences are cut of which nothing may depend on company."""

from thespis.actors.scheduler.pieces import Tiles
from thespis.protocol.config.room import Room

from .bench import Bench, config, item, prepared
from .paged_model import oracle

TILE = 8
PIECES = [(0, 5), (5, 21), (21, 24), (24, 32), (32, 33), (33, 36), (36, 40), (40, 48), (48, 50)]
WHOLE = ((5, 21), (33, 36))


def bench_of(budget: int, blocks: int = 33) -> Bench:
    return Bench(config(tile=TILE, max_batched_tokens=budget, room=Room((blocks,))), encoder=False)


def works(bench: Bench) -> list[tuple[int, int]]:
    return sorted(
        {(work.start, work.start + work.count) for plan in bench.log for work in plan.work}
    )


def test_what_must_stay_whole_is_a_piece_of_its_own() -> None:
    bench = bench_of(20)
    request = prepared("a", [3] * 50, unbroken=WHOLE, ignore_eos=True)
    bench.submit(request)
    bench.run()
    assert works(bench) == [*PIECES, *((place, place + 1) for place in range(50, 55))]
    assert bench.tokens["a", 0] == oracle(request, 0)
    seq = bench.policy.requests["a"].sequences[0]
    assert [tokens for tokens in range(56) if Tiles(TILE).may_part(seq, tokens)] == [
        0,
        24,
        32,
        40,
        48,
    ]


def test_pieces_are_the_same_whenever_items_come_and_whoever_runs() -> None:
    """A picture that is not there yet, a step with little room, blocks that run out: a piece
    waits."""
    bench = bench_of(17, blocks=24)
    bench.submit(prepared("a", [3] * 50, (item("x", 10, 4),), unbroken=WHOLE, ignore_eos=True))
    for other in range(5):
        bench.submit(prepared(f"b{other}", [4 + other] * 9, ignore_eos=True))
    while bench.plan() is not None or bench.answer():
        pass
    assert (5, 21) not in works(bench)
    bench.give_all()
    bench.run()
    assert set(works(bench)) >= set(PIECES)
    cuts = {(0, 8), (8, 9)} | {(place, place + 1) for place in (*range(9, 15), *range(50, 56))}
    assert set(works(bench)) <= {*PIECES, *cuts}
    assert bench.policy.tally.preemptions


def test_of_an_answer_nothing_is_shared_and_of_a_prompt_whole_tiles() -> None:
    bench = bench_of(64)
    bench.submit(prepared("a", [3] * 15, ignore_eos=True, max_tokens=9))
    bench.run()
    said = bench.tokens["a", 0]
    hits = bench.policy.tally.prefix_hit_tokens
    bench.submit(prepared("b", [*[3] * 15, *said, 5]))
    bench.run()
    assert bench.policy.tally.prefix_hit_tokens - hits == TILE
