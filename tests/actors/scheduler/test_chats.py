"""Chats that go on, part and come again within a block: whatever is copied, shared, preempted, lost
or given up, each slot that a token looks at holds what its own sequence says it does."""

import random
from array import array
from dataclasses import dataclass, field
from functools import partial

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.actors.scheduler.scheduler import IN_FLIGHT
from thespis.protocol.config.roles import SchedulerConfig
from thespis.protocol.config.room import Room
from thespis.protocol.config.speculation import Speculation
from thespis.protocol.edges.client_to_scheduler import ChoiceSoFar
from thespis.protocol.edges.detokenizer_to_scheduler import Stopped
from thespis.protocol.edges.scheduler_to_gpu_runner import StepPlan, Work
from thespis.protocol.requests.prepared import Item, Prepared, Span

from .bench import Bench, config, prepared
from .paged_model import PagedModel, _State, entries, oracle

PLACEHOLDER = 0
LONGEST, ANSWER = 44, 10
"""Tokens of a prompt, and of an answer."""


class Checked(PagedModel):
    """Knows whose sequences it computes, and what their slots must hold."""

    def __init__(self, asked: dict[int, Prepared], settings: SchedulerConfig) -> None:
        super().__init__(settings)
        self._asked = asked

    def _extend(self, state: _State, work: Work) -> None:
        super()._extend(state, work)
        right = entries(self._asked[work.seq], state.tokens[: work.start])
        held = [self.kv[0][self._slot(state, 0, place)].entry for place in range(work.start)]
        assert held == right, "a slot holds another's"


class Watched(Bench):
    """Tells the model whose sequences it is given."""

    def __init__(self, settings: SchedulerConfig, encoder: bool) -> None:
        self.asked: dict[int, Prepared] = {}
        super().__init__(settings, encoder, partial(Checked, self.asked))

    def plan(self) -> StepPlan | None:
        plan = super().plan()
        batch = self.policy.batch
        for seq in (*batch.running, *batch.leaving):
            self.asked[seq.number] = seq.request.prepared
        return plan


@dataclass
class Chats:
    """What has been asked, from which more is made."""

    dice: random.Random
    rotary: bool
    asked: list[Prepared] = field(default_factory=list)

    def next(self) -> Prepared:
        """A new chat, another turn of one, or one that parts from another somewhere."""
        dice = self.dice
        short = [one for one in self.asked if len(one.token_ids) < LONGEST - ANSWER - 8]
        if not short or dice.random() < 0.2:
            tokens, items = self._opening()
            whole = dice.random() < 0.5
        else:
            base = dice.choice(short)
            said = oracle(base, dice.randrange(base.sampling.n))
            tokens, items = [*base.token_ids], base.items
            whole = bool(base.unbroken)
            if dice.random() < 0.7:
                tokens += said[: dice.choice([len(said), dice.randrange(len(said) + 1)])]
            else:  # it parts from it behind its items
                last = max((span.end for one in items for span in one.spans), default=0)
                tokens = tokens[: dice.randrange(last, len(tokens) + 1)]
            if dice.random() < 0.2:
                tokens, items = self._picture(tokens, items)
        tokens += [dice.randrange(2, 5) for _ in range(dice.choice([0, 1, 1, 2, 5]))]
        tokens = tokens or [3]
        made = self._asked(tokens, items, whole)
        self.asked.append(made)
        return made

    def _opening(self) -> tuple[list[int], tuple[Item, ...]]:
        dice = self.dice
        tokens, items = [3, 4, 2, 3, 4][: dice.randrange(6)], tuple[Item, ...]()
        for _ in range(dice.choice([0, 0, 1, 2])):
            tokens, items = self._picture(tokens, items)
        return tokens, items

    def _picture(
        self, tokens: list[int], items: tuple[Item, ...]
    ) -> tuple[list[int], tuple[Item, ...]]:
        """Placeholders of all items are alike, and one item may be cut in several ways."""
        dice = self.dice
        key = dice.choice(["cat", "dog", "owl"])
        if any(one.key == key for one in items):
            return tokens, items
        cut = dice.choice([0, 0, 2, 3])
        first = Span(len(tokens), cut or 5)
        spans = (first, Span(first.end + 1, 5 - cut, cut)) if cut else (first,)
        more = [PLACEHOLDER] * first.length + ([4] + [PLACEHOLDER] * (5 - cut) if cut else [])
        return [*tokens, *more], (*items, Item(key, "image", 5, spans))

    def _asked(self, tokens: list[int], items: tuple[Item, ...], whole: bool) -> Prepared:
        dice = self.dice
        longest = dice.randrange(1, ANSWER + 1)
        positions, delta = self._positions(tokens, items)
        spans = [span for one in items if one.key == "owl" for span in one.spans]
        request = prepared(
            f"r{len(self.asked)}",
            tokens,
            items,
            unbroken=tuple((span.start, span.end) for span in spans) if whole else (),
            arrival=float(len(self.asked)),
            priority=dice.choice([0, 0, 0, 1]),
            tenant=dice.choice(["", "", "", "other"]),
            client=dice.choice(["client-a", "client-b"]),
            max_tokens=longest,
            ignore_eos=dice.random() < 0.7,
            stop_token_ids=dice.choice([(), (), (7,)]),
            n=dice.choice([1, 1, 1, 2, 3]),
            prompt_logprobs=dice.choice([None, None, None, None, 0]),
        )
        return msgspec.structs.replace(request, positions=positions, position_delta=delta)

    def _positions(self, tokens: list[int], items: tuple[Item, ...]) -> tuple[bytes | None, int]:
        """Three planes, of which an item's rows differ; sometimes all are told otherwise."""
        if not self.rotary:
            return None, 0
        rows = {p for one in items for span in one.spans for p in range(span.start, span.end)}
        planes: list[list[int]] = [[], [], []]
        at = self.dice.choice([0, 0, 0, 0, 1])
        for place in range(len(tokens)):
            apart = place % 2 if place in rows else 0
            for number, plane in enumerate(planes):
                plane.append(at + number * apart)
            at += 0 if apart else 1
        flat = b"".join(array("i", plane).tobytes() for plane in planes)
        return flat, at - len(tokens)


def _settings(dice: random.Random) -> SchedulerConfig:
    size = dice.choice([1, 2, 3, 4, 5, 7, 8, 16])
    drafts = dice.random() < 0.3
    budget = dice.randrange(5, 25)
    tile = size * dice.choice([1, 2])
    speculation = Speculation(
        method="ngram", num_speculative_tokens=3, prompt_lookup_max=2, prompt_lookup_min=1
    )
    blocks = 1 + -(-(LONGEST + ANSWER) // size) + dice.choice([0, 1, 3, 10, 40])
    return config(
        block_size=size,
        tile=tile if not drafts and tile <= budget and dice.random() < 0.2 else None,
        speculation=speculation if drafts else None,
        room=Room((blocks,), 0),
        max_batched_tokens=budget,
        max_num_seqs=dice.randrange(1, 7),
        attention_even=dice.choice([1, 5, 1 << 20]),
        store_bytes=4 * dice.choice([15, 20, 1000]),
    )


def _move(bench: Watched, dice: random.Random, alive: dict[str, Prepared], storm: bool) -> None:
    kinds = ["plan", "answer"] * 6 + ["give"] * 2
    kinds += ["stop", "end", "resume", "runner", "encoder", "forget"] if storm else []
    move = dice.choice(kinds)
    match move:
        case "plan":
            bench.plan()
        case "answer":
            bench.answer()
        case "give" if bench.needs:
            bench.give_some(1)
        case "runner" if not bench.cornered():
            bench.lose_runner()
            for _ in range(dice.randrange(2)):
                _stop(bench, dice, alive)
            bench.join_runner()
        case "encoder" if not bench.cornered():
            bench.lose_encoder(dice.randrange(IN_FLIGHT + 1))
        case "forget":
            bench.policy.batch.forget_prefixes()
        case "stop":
            _stop(bench, dice, alive)
        case "end" if alive:
            name = dice.choice(sorted(alive))
            del alive[name]
            bench.policy.end([name])
        case "resume" if alive:
            _resume(bench, dice, alive)
    bench.deliver()
    bench.check_blocks()


def _stop(bench: Bench, dice: random.Random, alive: dict[str, Prepared]) -> None:
    """A stop string in any token that the detokenizer has seen."""
    if not alive:
        return
    request = alive[dice.choice(sorted(alive))]
    choice = dice.randrange(request.sampling.n)
    if seen := len(bench.tokens.get((request.id, choice), [])):
        place = dice.choice([seen, dice.randrange(1, seen + 1)])
        bench.policy.stopped(Stopped(request.id, request.attempt, choice, place))


def _resume(bench: Bench, dice: random.Random, alive: dict[str, Prepared]) -> None:
    """Its client asks again, with what it has: as after a death of the scheduler."""
    name = dice.choice(sorted(alive))
    request = alive[name]
    if name in bench.closed or request.sampling.prompt_logprobs is not None:
        return
    had = []
    for choice in range(request.sampling.n):
        told = bench.tokens.pop((name, choice), [])
        bench.finishes.pop((name, choice), None)
        had.append(ChoiceSoFar(tuple(told), len(told), False))
    alive[name] = msgspec.structs.replace(request, attempt=request.attempt + 1)
    bench.policy.submit(alive[name], bench.time, tuple(had))


def play(seed: int) -> Watched:
    dice = random.Random(seed)
    bench = Watched(_settings(dice), encoder=dice.random() < 0.5)
    chats, storm = Chats(dice, dice.random() < 0.5), dice.random() < 0.6
    alive: dict[str, Prepared] = {}
    for _ in range(dice.randrange(2, 12)):
        request = chats.next()
        bench.submit(request)
        alive[request.id] = request
        for _ in range(dice.choice([0, 2, 10, 40])):
            _move(bench, dice, alive, storm)
    bench.encoder = True
    bench.deliver()
    bench.run()
    assert not bench.rejected
    assert not bench.policy.tally.faults
    for name, request in alive.items():
        assert name in bench.closed
        for choice in range(request.sampling.n):
            got, want = bench.tokens.get((name, choice), []), oracle(request, choice)
            assert got == want[: len(got)]
            assert storm or got == want
    bench.assert_empty()
    return bench


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_whatever_a_token_looks_at_is_its_own_sequence_s(seed: int) -> None:
    play(seed)
