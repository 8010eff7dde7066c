"""Whatever arrives, whatever dies and however small the pool: everybody gets the oracle's tokens,
and nothing leaks."""

import random
from dataclasses import dataclass
from functools import partial

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.actors.scheduler.scheduler import IN_FLIGHT
from thespis.protocol.config.roles import SchedulerConfig
from thespis.protocol.config.room import Room
from thespis.protocol.config.speculation import Speculation
from thespis.protocol.edges.detokenizer_to_scheduler import Stopped
from thespis.protocol.edges.gpu_runner_to_scheduler import StepResult
from thespis.protocol.edges.scheduler_to_gpu_runner import StepPlan
from thespis.protocol.requests.guide import Guide
from thespis.protocol.requests.prepared import Item, Prepared, Span

from .bench import Bench, config, prepared
from .paged_model import PagedModel, oracle

PLACEHOLDER = 0
COMMON = [[3, 4, 5, 6, 7, 8, 9, 10], [3, 4, 5, 6, 2, 2, 2, 2], []]
"""Beginnings that prompts share, so that there is something to hit."""
KINDS: list[tuple[tuple[int | None, ...], bool]] = [
    ((None,), False),
    ((None, 3), False),
    ((None, 2, 9), False),
    ((5,), False),
    ((None,), True),
    ((None, 6), True),
    ((), True),
]
"""Windows of a model's tables, and whether it has recurrent layers."""

DRAFTS = [
    Speculation(
        method="ngram", num_speculative_tokens=count, prompt_lookup_max=2, prompt_lookup_min=1
    )
    for count in (1, 3, 9)
]


class Timed(PagedModel):
    """Its steps take some time or other, so that prompts are bounded by what was learnt of them,
    and company is waited for."""

    def __init__(self, dice: random.Random, settings: SchedulerConfig) -> None:
        super().__init__(settings)
        self._dice = dice
        self._token = dice.choice([0.0, 1e-5, 1e-3, 0.1])

    def run(self, plan: StepPlan, unreadable: bool = False) -> StepResult:
        result, dice = super().run(plan, unreadable), self._dice
        seconds = self._token * sum(work.count for work in plan.work) * dice.choice([0.5, 1, 1, 5])
        return msgspec.structs.replace(result, seconds=seconds, beside=dice.random() < 0.2)


@dataclass
class World:
    settings: SchedulerConfig
    requests: list[Prepared]
    dice: random.Random


def _prompt(dice: random.Random) -> tuple[list[int], tuple[Item, ...], tuple[tuple[int, int], ...]]:
    """Text and items in turn; the placeholders of all items look alike. Stretches that must stay
    whole: of each owl, of all items together, or the whole prompt."""
    tokens = list(dice.choice(COMMON))
    items: list[Item] = []
    for _ in range(dice.choice([0, 0, 1, 1, 2])):
        key = dice.choice(["cat", "dog", "owl"])
        length = {"cat": 5, "dog": 5, "owl": 4}[key]
        if any(known.key == key for known in items):
            continue
        tokens += [dice.randrange(2, 8) for _ in range(dice.randrange(3))]
        cut = dice.choice([0, 2]) if key != "owl" else 0
        first = Span(len(tokens), cut or length)
        spans: tuple[Span, ...] = (
            (first, Span(first.end + 1, length - cut, cut)) if cut else (first,)
        )
        items.append(Item(key, "image", length, spans))
        tokens += [PLACEHOLDER] * spans[0].length + (
            [4] + [PLACEHOLDER] * spans[1].length if cut else []
        )
    tokens += [dice.randrange(2, 5) for _ in range(dice.randrange(1, 8))]
    apart = tuple((one.spans[0].start, one.spans[0].end) for one in items if one.key == "owl")
    joined = ((items[0].spans[0].start, items[-1].spans[-1].end),) if items else ()
    scope = dice.choice(["item", "item", "items", "prompt"])
    if dice.random() < 0.4:  # pages, which are asked for some at a time
        items = [msgspec.structs.replace(one, later=True) for one in items]
    return (
        tokens,
        tuple(items),
        {"item": apart, "items": joined, "prompt": ((0, len(tokens)),)}[scope],
    )


def _request(dice: random.Random, index: int) -> Prepared:
    tokens, items, unbroken = _prompt(dice)
    max_tokens = dice.randrange(1, 14)
    return prepared(
        f"r{index}",
        tokens,
        items,
        unbroken=unbroken,
        arrival=float(index),
        priority=dice.choice([0, 0, 0, 1]),
        tenant=dice.choice(["", "", "other"]),
        client=dice.choice(["client-a", "client-b"]),
        max_tokens=max_tokens,
        min_tokens=dice.randrange(max_tokens + 1),
        ignore_eos=dice.random() < 0.5,
        stop_token_ids=dice.choice([(), (), (7,)]),
        n=dice.choice([1, 1, 1, 2, 3]),
        prompt_logprobs=dice.choice([None, None, None, 0]),
        structured_outputs=dice.choice(
            [None, None, Guide("regex", "", dice.random() / 9, dice.random() / 30)]
        ),
        streamed=dice.random() < 0.7,
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    dice = random.Random(draw(st.integers(0, 1 << 32)))
    requests = [_request(dice, index) for index in range(draw(st.integers(1, 9)))]
    size = draw(st.integers(1, 6))
    largest = max(
        -(-(len(r.token_ids) + (r.sampling.max_tokens or 0) - 1) // size) for r in requests
    )
    windows, recurrent = draw(st.sampled_from(KINDS))
    budget = max(
        [draw(st.integers(4, 24)), *(last - first for r in requests for first, last in r.unbroken)]
    )
    more = [draw(st.integers(0, 12)) for _ in windows]
    least = [
        largest if window is None else min(largest, -(-(window - 1 + budget) // size) + 1)
        for window in windows
    ]
    tile = size * draw(st.sampled_from([1, 2]))
    drafting = draw(st.booleans()) and not recurrent
    chosen = config(
        block_size=size,
        tile=tile if not drafting and tile <= budget and draw(st.booleans()) else None,
        speculation=draw(st.sampled_from(DRAFTS)) if drafting else None,
        windows=windows,
        room=Room(
            tuple(1 + blocks + spare for blocks, spare in zip(least, more, strict=True)),
            2 + draw(st.integers(0, 9)) if recurrent else 0,
        ),
        max_batched_tokens=budget,
        attention_even=draw(st.sampled_from([1, 5, 1 << 20])),
        max_num_seqs=draw(st.integers(1, 9)),
        prefix_caching=draw(st.booleans()),
        store_bytes=4 * draw(st.sampled_from([10, 14, 1000])),
    )
    return World(chosen, requests, dice)


def _play(bench: Bench, dice: random.Random, move: str) -> None:
    match move:
        case "plan":
            bench.plan()
        case "answer":
            bench.answer()
        case "give" if bench.needs:
            bench.give_some(dice.randrange(1, 3))
        case "lose runner" if not bench.cornered():
            bench.lose_runner()
            bench.join_runner()
        case "lose encoder" if not bench.cornered():
            bench.lose_encoder(dice.randrange(IN_FLIGHT + 1))
        case "forget":
            bench.policy.batch.forget_prefixes()
    bench.check_blocks()


def _through(world: World, moves: list[str]) -> Bench:
    """Requests arrive while the moves happen; then everything runs to its end."""
    bench = Bench(world.settings, encoder=False, model=partial(Timed, world.dice))
    dice = world.dice
    for index, request in enumerate(world.requests):
        bench.submit(request)
        for move in dice.choices(moves, k=dice.randrange(12)):
            _play(bench, dice, move)
        if index % 3 == 2:
            bench.give_all()
    bench.encoder = True
    bench.deliver()
    for _ in range(5000):
        while bench.plan() is not None:
            bench.check_blocks()
        if dice.random() < 0.05 and len(moves) > 3:
            _play(bench, dice, dice.choice(moves))
        if bench.rests():
            break
        bench.check_blocks()
    return bench


CALM = ["plan", "plan", "answer", "give"]
STORMY = [*CALM, "plan", "answer", "lose runner", "lose encoder", "forget"]


@settings(max_examples=60, deadline=None)
@given(worlds(), st.sampled_from([["plan", "answer", "give"], CALM, STORMY]))
def test_every_request_gets_the_oracles_tokens(world: World, moves: list[str]) -> None:
    bench = _through(world, moves)
    for request in world.requests:
        for choice in range(request.sampling.n):
            assert bench.tokens[request.id, choice] == oracle(request, choice)
            assert (request.id, choice) in bench.finishes
        assert request.id in bench.closed
        if request.sampling.prompt_logprobs is not None:
            entries = bench.scores[request.id]
            assert [entry.token_id for entry in entries] == list(request.token_ids[1:])
    assert not bench.rejected
    assert not bench.policy.tally.faults
    bench.assert_empty()


@settings(max_examples=50, deadline=None)
@given(worlds(), st.sampled_from([CALM, STORMY]))
def test_aborts_and_stops_at_any_point_free_everything(world: World, moves: list[str]) -> None:
    bench = Bench(world.settings, encoder=False, model=partial(Timed, world.dice))
    dice = world.dice
    alive: dict[str, Prepared] = {}
    for request in world.requests:
        bench.submit(request)
        alive[request.id] = request
        for move in dice.choices(
            [*moves, "end", "stop", "client"], weights=[6] * len(moves) + [4, 4, 1], k=8
        ):
            id = dice.choice(sorted(alive)) if alive else ""
            match move:
                case "end" if alive:
                    bench.policy.end([id])
                    del alive[id]
                case "stop" if alive:
                    _stop(bench, alive[id], dice)
                case "client":
                    bench.policy.client_gone("client-b")
                    alive = {id: r for id, r in alive.items() if r.client != "client-b"}
                case _:
                    _play(bench, dice, move)
            bench.deliver()
            bench.check_blocks()
    bench.encoder = True
    bench.deliver()
    bench.run()
    for id, request in alive.items():
        assert id in bench.closed, bench.rejected
        for choice in range(request.sampling.n):
            want = oracle(request, choice)
            assert (
                bench.tokens.get((id, choice), [])
                == want[: len(bench.tokens.get((id, choice), []))]
            )
    bench.assert_empty()


def _stop(bench: Bench, request: Prepared, dice: random.Random) -> None:
    """A stop string in any token that the detokenizer has seen."""
    choice = dice.randrange(request.sampling.n)
    seen = len(bench.tokens.get((request.id, choice), []))
    if seen:
        bench.policy.stopped(
            Stopped(request.id, request.attempt, choice, dice.randrange(1, seen + 1))
        )


@st.composite
def tight_worlds(draw: st.DrawFn) -> World:
    """Just one step's room in a window, and a store of two items: blocks and embeddings wait for
    each other."""
    dice = random.Random(draw(st.integers(0, 1 << 32)))
    requests = [_request(dice, index) for index in range(draw(st.integers(2, 9)))]
    size = draw(st.integers(1, 6))
    budget = max(
        [draw(st.integers(4, 8)), *(last - first for r in requests for first, last in r.unbroken)]
    )
    room = Room((2 + -(-(4 + budget) // size),), 0)
    chosen = config(
        block_size=size,
        windows=(5,),
        room=room,
        max_batched_tokens=budget,
        max_num_seqs=3,
        store_bytes=40,
    )
    return World(chosen, requests, dice)


@settings(max_examples=50, deadline=None)
@given(tight_worlds())
def test_blocks_of_a_window_and_embeddings_do_not_wait_for_each_other(world: World) -> None:
    bench = _through(world, ["plan", "answer", "give"])
    for request in world.requests:
        for choice in range(request.sampling.n):
            assert bench.tokens[request.id, choice] == oracle(request, choice)
