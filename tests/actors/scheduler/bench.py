"""A scheduler between a paged model and an encoder that answers when told: what the tests drive."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from thespis.actors.quarantine.records import OUTSIDE, PROOF
from thespis.actors.scheduler.scheduler import IN_FLIGHT, Scheduler
from thespis.actors.scheduler.telling import SCORES_AT_ONCE
from thespis.protocol.config.roles import SchedulerConfig
from thespis.protocol.config.room import Room
from thespis.protocol.edges.encoder_cache_to_scheduler import EmbeddingReady
from thespis.protocol.edges.gpu_runner_to_scheduler import Sampled, StepResult, TokenLogprobs
from thespis.protocol.edges.scheduler_to_client import MediaLost
from thespis.protocol.edges.scheduler_to_detokenizer import (
    Close,
    Open,
    Output,
    Outputs,
    PromptLogprobs,
    Vectors,
)
from thespis.protocol.edges.scheduler_to_encoder_cache import Need, Release
from thespis.protocol.edges.scheduler_to_gpu_runner import StepPlan
from thespis.protocol.edges.shared import RequestFailed
from thespis.protocol.memory.blobs import BlobRef
from thespis.protocol.requests.prepared import Item, Prepared, Span
from thespis.protocol.requests.sampling import SamplingParams

from .paged_model import EOS, PagedModel


def config(**changes: Any) -> SchedulerConfig:
    """`num_blocks`: of every table; `states`: slots."""
    num_blocks, states = changes.pop("num_blocks", 33), changes.pop("states", 0)
    values: dict[str, Any] = {
        "max_num_seqs": 8,
        "max_batched_tokens": 16,
        "max_model_len": 64,
        "attention_even": 1 << 20,
        "block_size": 4,
        "windows": (None,),
        "prefix_caching": True,
        "rope_bound": None,
        "answers_apart": False,
        "hidden_bytes": 4,
        "store_bytes": 1 << 20,
    }
    values |= changes
    values.setdefault("room", Room((num_blocks,) * len(values["windows"]), states))
    return SchedulerConfig(**values)


def item(key: str, start: int, length: int) -> Item:
    return Item(key, "image", length, (Span(start, length),))


def prepared(
    id: str,
    token_ids: Sequence[int],
    items: tuple[Item, ...] = (),
    *,
    arrival: float = 0.0,
    attempt: int = 0,
    priority: int = 0,
    tenant: str = "",
    client: str = "client-a.1",
    eos: tuple[int, ...] = (EOS,),
    unbroken: tuple[tuple[int, int], ...] = (),
    streamed: bool = True,
    **sampling: object,
) -> Prepared:
    params: dict[str, object] = {"max_tokens": 6, **sampling}
    return Prepared(
        id=id,
        attempt=attempt,
        client=client,
        tenant=tenant,
        arrival=arrival,
        priority=priority,
        streamed=streamed,
        token_ids=tuple(token_ids),
        items=items,
        positions=None,
        unbroken=unbroken,
        sampling=SamplingParams(**params),  # type: ignore[arg-type]
        eos_token_ids=eos,
    )


class Model(Protocol):
    """A runner that knows nothing; `steps` have been planned before."""

    steps: int

    def run(self, plan: StepPlan, unreadable: bool = False) -> StepResult: ...


class NoModel:
    """Says always the same, so that long prompts cost no time."""

    steps = 0

    def __init__(self, _: SchedulerConfig) -> None: ...

    def run(self, plan: StepPlan, unreadable: bool = False) -> StepResult:
        return StepResult(
            plan.step, tuple(Sampled(work.seq, 2) for work in plan.work if work.sample)
        )


class Bench:
    """`plan()` takes a plan into the model's queue, `answer()` gives the oldest result; `run()`
    does both to the end."""

    def __init__(
        self,
        settings: SchedulerConfig | None = None,
        encoder: bool = True,
        model: Callable[[SchedulerConfig], Model] = PagedModel,
    ) -> None:
        self.config = settings or config()
        self.policy = Scheduler(self.config)
        self.encoder = encoder
        self._new_model = model
        self.model = self._new_model(self.config)
        self.plans: deque[StepPlan] = deque()
        self.log: list[StepPlan] = []
        self.time = 0.0
        self.needs: dict[str, Need] = {}
        """By holder: asked for and not released."""
        self.all_needs: list[Need] = []
        self.given: set[tuple[str, str]] = set()
        """(holder, key) that can be read."""
        self.gifts = 0
        """How many have been given."""
        self.reads: dict[int, set[tuple[str, str]]] = {}
        """By step in flight: (holder, key) of the embeddings that it reads."""
        self.unreadable: set[int] = set()
        """Steps whose embeddings have gone with an encoder."""
        self.tokens: dict[tuple[str, int], list[int]] = {}
        self.finishes: dict[tuple[str, int], Output] = {}
        self.opened: list[Open] = []
        self.closed: dict[str, Close] = {}
        self.scores: dict[str, list[TokenLogprobs]] = {}
        """What was told of prompts, from position 1 on."""
        self.vectors: dict[str, Vectors] = {}
        self.rejected: dict[str, RequestFailed] = {}
        self.lost: list[MediaLost] = []
        self.deaths = 0
        self.join_runner()

    def join_runner(self) -> None:
        self.plans.clear()
        self.reads.clear()
        self.model = self._new_model(self.config)
        self.model.steps = self.policy.tally.steps
        assert self.config.room is not None
        self.policy.runner_joined(self.config.room)

    def lose_runner(self) -> None:
        self.plans.clear()
        self.reads.clear()
        self.policy.runner_lost()
        self.deliver()

    def lose_detokenizer(self, outside: bool) -> None:
        """Its successor is told anew."""
        self.policy.detokenizer_lost(0, self.time, outside)
        for told in (
            self.opened,
            self.tokens,
            self.finishes,
            self.closed,
            self.scores,
            self.vectors,
        ):
            told.clear()
        self.policy.telling.begin()
        self.deliver()

    def lose_encoder(self, readable: int = IN_FLIGHT) -> None:
        """`readable`: steps in flight that have read its embeddings, or still can."""
        self.unreadable.update(plan.step for plan in [*self.plans][readable:])
        self.needs.clear()
        self.given.clear()
        self.reads.clear()
        self.policy.encoder_lost()
        self.policy.outbox.encoder.clear()
        self.policy.encoder_joined()
        self.deliver()

    def cornered(self) -> bool:
        """One more kill from outside, at the same place as the last two, would look like proof
        against somebody: also against an item that is tried alone, and whose requests have all
        ended meanwhile."""
        blame = self.policy.blame
        items = {
            item.key for r in self.policy.requests.values() for item in r.prepared.items
        } | self.policy.media.awaited()
        names = [*self.policy.requests, *sorted(items)]
        return any(
            q.evidence(name) + OUTSIDE >= PROOF
            for q in (blame.requests, blame.items)
            for name in names
        )

    def submit(self, *requests: Prepared) -> None:
        for request in requests:
            self.policy.submit(request, self.time)
        self.deliver()

    def plan(self) -> StepPlan | None:
        running = self.policy.batch.running
        oldest = running[0] if running and not self.policy.blame.requests.suspects else None
        plan = self.policy.schedule(self.time)
        assert oldest is None or oldest in self.policy.batch.running, (
            "the oldest running sequence was preempted"
        )
        if plan is not None:
            self.plans.append(plan)
            self.log.append(plan)
            self._note_reads(plan)
        self.deliver()
        return plan

    def _note_reads(self, plan: StepPlan) -> None:
        sequences = {part.work.seq: part.seq for part in self.policy.flights.steps[-1].parts}
        for part in self.policy.flights.steps[-1].parts:
            stretches = part.seq.request.prepared.unbroken
            assert not any(first < part.end < last for first, last in stretches), (
                "a step ends in what must stay whole"
            )
        readers: set[tuple[str, str]] = set()
        for embed in plan.embeds:
            seq = sequences[embed.seq]
            holder = seq.holder
            assert holder is not None
            assert (holder, embed.blob.segment) in self.given, (
                "a span was prefilled before its item was ready"
            )
            readers.add((holder, embed.blob.segment))
        self.reads[plan.step] = readers

    def answer(self) -> bool:
        if not self.plans:
            return False
        self.time += 1
        plan = self.plans.popleft()
        self.policy.apply(self.model.run(plan, plan.step in self.unreadable), self.time)
        self.reads.pop(plan.step, None)
        self.deliver()
        return True

    def run(self, steps: int = 10_000) -> None:
        """Until nothing moves, with plans one step ahead."""
        for _ in range(steps):
            while self.plan() is not None:
                pass
            if self.rests():
                return
        raise AssertionError("it never came to rest")

    def rests(self) -> bool:
        """Take an answer or a plan; True where there is none, and no embedding has come
        meanwhile."""
        while True:
            gifts = self.gifts
            if self.answer() or self.plan() is not None:
                return False
            if self.policy.due is not None:
                self.time = self.policy.due
            elif self.gifts == gifts:
                return True

    def give(self, holder: str, key: str) -> None:
        rows = dict(zip(self.needs[holder].keys, self.needs[holder].rows, strict=True))[key]
        self.given.add((holder, key))
        self.gifts += 1
        self.policy.ready(
            EmbeddingReady(key, (holder,), BlobRef(key, 0, "float32", (rows, 1))),
            self.time,
        )

    def give_all(self) -> None:
        self.give_some(1 << 30)

    def give_some(self, count: int) -> None:
        """The next `count` items that the store has room for, in the order in which they were
        asked."""
        held: dict[str, int] = {}
        for holder, need in list(self.needs.items()):
            held.update(zip(need.keys, need.rows, strict=True))
            if sum(held.values()) * self.config.hidden_bytes > self.config.store_bytes:
                return
            for key in need.keys:
                if (holder, key) not in self.given and count:
                    self.give(holder, key)
                    count -= 1

    def deliver(self) -> None:
        outbox = self.policy.outbox
        for message in self.policy.telling.take():
            match message:
                case Open():
                    self.opened.append(message)
                case Outputs(outputs):
                    for output in outputs:
                        self._output(output)
                case PromptLogprobs(id, _, start, entries):
                    told = self.scores.setdefault(id, [])
                    assert start == 1 + len(told)
                    assert len(entries) <= SCORES_AT_ONCE
                    told += entries
                case Vectors():
                    assert message.id not in self.vectors
                    self.vectors[message.id] = message
                case Close():
                    assert message.id not in self.closed
                    self.closed[message.id] = message
        for wish in outbox.encoder:
            match wish:
                case Need():
                    self._need(wish)
                case Release():
                    self._release(wish)
        for client, answer in outbox.clients:
            assert client.startswith("client-")
            if isinstance(answer, RequestFailed):
                assert answer.id not in self.rejected
                self.rejected[answer.id] = answer
            else:
                self.lost.append(answer)
        outbox.encoder.clear()
        outbox.clients.clear()
        if self.encoder:
            self.give_all()

    def _need(self, wish: Need) -> None:
        """A holder may ask for more."""
        self.all_needs.append(wish)
        known = self.needs.get(wish.holder)
        if known is not None:
            assert not set(known.keys) & set(wish.keys)
            wish = msgspec.structs.replace(
                wish, keys=known.keys + wish.keys, rows=known.rows + wish.rows
            )
        self.needs[wish.holder] = wish

    def _release(self, wish: Release) -> None:
        """All that a holder has, or some."""
        known = self.needs.pop(wish.holder)
        going = set(wish.keys or known.keys)
        assert going <= set(known.keys)
        assert not any(
            (wish.holder, key) in readers for readers in self.reads.values() for key in going
        ), "released under a step"
        self.given -= {(wish.holder, key) for key in going}
        left = [pair for pair in zip(known.keys, known.rows, strict=True) if pair[0] not in going]
        if wish.keys:
            keys, rows = tuple(key for key, _ in left), tuple(n for _, n in left)
            self.needs[wish.holder] = msgspec.structs.replace(known, keys=keys, rows=rows)

    def _output(self, output: Output) -> None:
        name = output.id, output.choice
        got = self.tokens.setdefault(name, [])
        assert name not in self.finishes
        assert output.position == len(got)
        got.extend(output.token_ids)
        if output.finish is not None:
            self.finishes[name] = output

    def check_blocks(self) -> None:
        """Every block is held exactly as often as sequences name it, none is lost, and none is kept
        that nobody looks at."""
        batch, books = self.policy.batch, self.policy.batch.books
        if books is None:
            return
        there = (*batch.running, *batch.leaving)
        assert all(not any(seq.holding.blocks) and not seq.holding.state for seq in batch.waiting)
        for table, (pool, window) in enumerate(zip(books.pools, self.config.windows, strict=True)):
            held = Counter(block for seq in there for block in seq.holding.blocks[table] if block)
            assert all(refs == held[block] for block, refs in enumerate(pool._refs))
            assert pool.used == len(held) <= pool.total
            for seq in there:
                blocks = seq.holding.blocks[table]
                kept = [block for block in blocks if block]
                assert blocks[len(blocks) - len(kept) :] == kept
                near = (
                    books.blocks_for((window or 0) - 1 + IN_FLIGHT * self.config.max_batched_tokens)
                    + 1
                )
                assert len(kept) <= near if window is not None else len(kept) == len(blocks)
        if books.states is not None:
            slots = [seq.holding.state for seq in there]
            slots += [
                part.work.snapshot
                for flight in self.policy.flights.steps
                for part in flight.parts
                if part.work.snapshot
            ]
            assert len(set(slots)) == len(slots)
            assert 0 not in slots
            assert books.states.used == len(slots)

    def assert_empty(self) -> None:
        """Nothing is held by anybody."""
        counters = self.policy.counters()
        assert counters["state_slots_used"] == 0
        assert counters["kv_blocks_used"] == counters["running"] == counters["waiting"] == 0
        assert not self.policy.batch.leaving
        assert not self.needs
        assert not self.policy.media.holders
