"""A queue of ten thousand costs a plan little: most is not looked at, and nothing long is done
beside streams."""

import pytest

from thespis.actors.scheduler import planner, queue

from .bench import Bench, config, item, prepared


def test_texts_and_pictures_come_in_one_order() -> None:
    bench = Bench(config(max_num_seqs=1), encoder=False)
    for number, name in enumerate(("one", "two", "three", "four")):
        items = (item(name, 1, 2),) if number % 2 else ()
        bench.submit(prepared(name, [5, 0, 0, 5], items, arrival=float(4 - number)))
    waiting = bench.policy.batch.waiting
    assert (
        [seq.request.id for seq in waiting]
        == ["four", "three", "two", "one"]
        == [s.request.id for s in waiting.candidates()]
    )
    seen = []
    for seq in waiting.candidates():
        seen.append(seq.request.id)
        if len(seen) % 2:
            waiting.remove(seq)
    assert seen == ["four", "three", "two", "one"]
    assert [seq.request.id for seq in waiting] == ["three", "one"]


def test_a_text_passes_pictures_that_nobody_has_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "LOOK", 3)
    bench = Bench(config(), encoder=False)
    for number in range(9):
        bench.submit(
            prepared(
                f"picture {number}",
                [0, 0, 5],
                (item(f"item {number}", 0, 2),),
                arrival=float(number),
            )
        )
    bench.submit(prepared("text", [5, 6, 7], arrival=9.0))
    assert len(list(bench.policy.batch.waiting.candidates())) == 4
    bench.plan()
    assert [seq.request.id for seq in bench.policy.batch.running] == ["text"]


def test_a_long_prompt_is_hashed_over_several_steps_beside_streams_and_at_once_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner, "HASHES", 2)
    bench = Bench(config(num_blocks=64, max_batched_tokens=64))
    bench.submit(prepared("stream", [5] * 6, max_tokens=8))
    bench.plan()
    size = config().block_size
    bench.submit(prepared("long", list(range(5 * size + 1))))
    for blocks in (2, 4, 5):
        (seq,) = bench.policy.batch.waiting
        bench.plan()
        assert len(seq.chain.hashes) == blocks
        bench.answer()
    assert [seq.request.id for seq in bench.policy.batch.running] == ["stream", "long"]
    alone = Bench(config(num_blocks=64, max_batched_tokens=64))
    alone.submit(prepared("long", list(range(5 * size + 1))))
    alone.plan()
    assert [seq.request.id for seq in alone.policy.batch.running] == ["long"]
