"""What the policy does with requests for vectors: they end with their prompt, and nothing of them
is lost."""

import msgspec
import pytest

from thespis.protocol.edges.client_to_scheduler import ChoiceSoFar
from thespis.protocol.requests.pooling import Pooler, PoolingParams
from thespis.protocol.requests.prepared import Prepared

from .bench import Bench, config, prepared
from .paged_model import vector

LONG = [2 + i % 9 for i in range(40)]


def wanting(
    id: str, tokens: list[int], pooling: PoolingParams | None = None, **options: object
) -> Prepared:
    made = prepared(id, tokens, **{"max_tokens": 1, **options})  # type: ignore[arg-type]
    return msgspec.structs.replace(made, pooling=pooling or PoolingParams())


def bench_of(pooler: Pooler | None = None, **changes: int) -> Bench:
    return Bench(config(pooler=pooler or Pooler(), **changes))


def test_it_ends_with_its_prompt_and_takes_no_place_to_decode() -> None:
    bench = bench_of()
    bench.submit(wanting("v", LONG))
    bench.run()
    assert [(work.start, work.count, work.sample) for plan in bench.log for work in plan.work] == [
        (0, 16, False), (16, 16, False), (32, 8, True),
    ]  # fmt: skip
    assert bench.vectors["v"].data == vector(LONG)
    assert ("v", 0) not in bench.tokens
    assert bench.closed["v"].usage.prompt_tokens == 40
    bench.assert_empty()


def test_a_prompt_that_fills_the_context_is_taken() -> None:
    bench = bench_of()
    bench.submit(wanting("v", [3] * 64), wanting("w", [3] * 65))
    bench.run()
    assert set(bench.vectors) == {"v"}
    assert bench.rejected["w"].failure.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("pooler", "pooling", "hit"),
    [
        (Pooler(), PoolingParams(), 39),
        (Pooler(take="mean"), PoolingParams(), 0),
        (Pooler(take="cls"), PoolingParams(), 0),
        (Pooler(), PoolingParams(task="token_embed"), 0),
    ],
)
def test_a_beginning_is_reused_where_its_states_do_not_count(
    pooler: Pooler, pooling: PoolingParams, hit: int
) -> None:
    bench = bench_of(pooler)
    for id in ("first", "second"):
        bench.submit(wanting(id, LONG, pooling))
        bench.run()
    assert bench.closed["second"].usage.cached_tokens == hit
    assert bench.vectors["second"].data == bench.vectors["first"].data == vector(LONG)


def test_a_preempted_one_begins_again() -> None:
    bench = bench_of(Pooler(take="mean"), num_blocks=13)
    bench.submit(
        prepared("text", [5, 6, 7], max_tokens=20, ignore_eos=True), wanting("v", LONG, arrival=1.0)
    )
    bench.run()
    assert bench.vectors["v"].data == vector(LONG)
    assert len(bench.tokens["text", 0]) == 20


def test_a_lost_runner_loses_no_vector() -> None:
    bench = bench_of(Pooler(take="mean"))
    bench.submit(wanting("v", LONG))
    bench.plan()
    bench.answer()
    bench.plan()
    bench.lose_runner()
    bench.join_runner()
    bench.run()
    assert bench.vectors["v"].data == vector(LONG)


def test_a_new_detokenizer_is_told_the_vector_again_and_a_resume_makes_it_again() -> None:
    bench = bench_of()
    bench.submit(wanting("v", LONG))
    bench.run()
    bench.lose_detokenizer(outside=True)
    assert bench.opened[-1].want == "vector"
    assert not bench.finishes
    assert bench.vectors["v"].data == vector(LONG)

    fresh = bench_of()
    again = msgspec.structs.replace(wanting("v", LONG), attempt=1)
    fresh.policy.submit(again, 0.0, (ChoiceSoFar((), 0, False),))
    fresh.run()
    assert fresh.vectors["v"].attempt == 1
    assert "v" in fresh.closed
