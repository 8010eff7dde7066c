"""A model whose KV cache can be checked: what a position holds names everything before it.

The entry of a position is a digest of the entry before it (read through a block table, or from the
sequence's state), its token and its embedding row; the next token is drawn from the last entry.
Whatever a token looks at, in each table as far back as its window, must be the beginning of its own
sequence: a block or a state shared wrongly, written twice, given back or reused too early changes
tokens or trips an assertion.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from thespis.protocol.config.roles import SchedulerConfig
from thespis.protocol.edges.gpu_runner_to_scheduler import (
    Pooled,
    Sampled,
    Scored,
    SequenceFault,
    StepResult,
    TokenLogprobs,
)
from thespis.protocol.edges.scheduler_to_gpu_runner import NewSequence, StepPlan, Work
from thespis.protocol.requests.prepared import Prepared
from thespis.protocol.requests.sampling import SamplingParams

EOS = 1
VOCAB = 12
Row = tuple[str, int] | None


def entry(before: bytes, token: int, row: Row, turned: tuple[int, ...] = ()) -> bytes:
    """`turned`: its rotary positions, where they are told."""
    return sha256(before + repr((token, row, *turned)).encode()).digest()


def turned_at(place: int, positions: bytes | None, prompt: int, delta: int) -> tuple[int, ...]:
    """Of the prompt's tokens in every plane, of an answer's by the place alone."""
    if positions is None:
        return ()
    flat = memoryview(positions).cast("i")
    planes = range(len(flat) // prompt)
    return tuple(
        flat[plane * prompt + place] if place < prompt else place + delta for plane in planes
    )


def entries(prepared: Prepared, tokens: Sequence[int]) -> list[bytes]:
    """What the slots of a prompt and the beginning of its answer must hold."""
    rows: dict[int, Row] = {}
    for item in prepared.items:
        for span in item.spans:
            rows.update({span.start + i: (item.key, span.offset + i) for i in range(span.length)})
    prompt, held = len(prepared.token_ids), [b""]
    for place, token in enumerate(tokens):
        turned = turned_at(place, prepared.positions, prompt, prepared.position_delta)
        held.append(entry(held[-1], token, rows.get(place), turned))
    return held[1:]


def choose(
    last: bytes, choice: int, produced: int, sampling: SamplingParams, eos: tuple[int, ...]
) -> int:
    """The next token; end tokens only from `min_tokens` on."""
    digest = sha256(last + bytes([choice])).digest()
    token = digest[0] % VOCAB
    return 2 + digest[1] % (VOCAB - 2) if token in eos and produced < sampling.min_tokens else token


def oracle(prepared: Prepared, choice: int) -> list[int]:
    """What a choice must answer, computed alone and without a cache."""
    last = entries(prepared, prepared.token_ids)[-1]
    prompt = len(prepared.token_ids)
    output: list[int] = []
    sampling = prepared.sampling
    assert sampling.max_tokens is not None
    while len(output) < sampling.max_tokens:
        token = choose(last, choice, len(output), sampling, prepared.eos_token_ids)
        output.append(token)
        if len(output) >= sampling.min_tokens and (
            (token in prepared.eos_token_ids and not sampling.ignore_eos)
            or token in sampling.stop_token_ids
        ):
            break
        place = prompt + len(output) - 1
        turned = turned_at(place, prepared.positions, prompt, prepared.position_delta)
        last = entry(last, token, None, turned)
    return output


class Held(NamedTuple):
    """What a slot of a table holds."""

    entry: bytes
    before: bytes
    """The entry of the position before."""


def vector(tokens: list[int]) -> bytes:
    """Of a text: what its last position holds."""
    last = b""
    for token in tokens:
        last = entry(last, token, None)
    return last


@dataclass
class _State:
    new: NewSequence
    tokens: list[int]
    blocks: list[list[int]]
    """By table."""
    faulty: bool = False


class PagedModel:
    """Executes plans in order, as the GPU runner would."""

    def __init__(self, config: SchedulerConfig) -> None:
        assert config.room is not None
        self.config, self.room = config, config.room
        self.kv: list[dict[tuple[int, int], Held]] = [{} for _ in config.windows]
        """By table, by (block, offset)."""
        self.slots: dict[int, bytes] = {}
        """The recurrent states: the entry of the last position."""
        self.states: dict[int, _State] = {}
        self.steps = 0

    def run(self, plan: StepPlan, unreadable: bool = False) -> StepResult:
        """`unreadable`: the embeddings of this step have gone."""
        self.steps += 1
        assert plan.step == self.steps
        assert sum(work.count for work in plan.work) <= self.config.max_batched_tokens
        assert len({work.seq for work in plan.work}) == len(plan.work)
        for seq in plan.drop:
            del self.states[seq]
        for new in plan.new:
            assert new.seq not in self.states
            assert len(new.block_tables) == len(self.kv)
            self.states[new.seq] = _State(
                new, list(new.token_ids), [list(blocks) for blocks in new.block_tables]
            )
            if new.state_from:
                self.slots[new.state] = self.slots[new.state_from]
            if new.copied:
                assert new.copy_to in new.block_tables[0]
                (table,) = self.kv
                for offset in range(new.copied):
                    table[new.copy_to, offset] = table[new.copy_from, offset]
        rows: dict[tuple[int, int], Row] = {}
        for embed in plan.embeds:
            self.states[embed.seq].faulty |= unreadable
            key = embed.blob.segment
            rows.update(
                {(embed.seq, embed.start + i): (key, embed.row + i) for i in range(embed.count)}
            )
        snapshots: list[tuple[int, int]] = []
        sampled, scores, faults, pooled = [], [], [], []
        for work in plan.work:
            state = self.states[work.seq]
            if state.faulty:
                faults.append(SequenceFault(work.seq, "unreadable"))
                continue
            self._extend(state, work)
            if work.draft:
                sampled += [Sampled(work.seq, token) for token in self._verify(state, work)]
                continue
            last = self._compute(
                state,
                work.start,
                work.count,
                {p: rows.get((work.seq, p)) for p in range(work.start, work.start + work.count)},
            )
            if work.snapshot:
                assert 0 < work.snapshot < self.room.states
                snapshots.append((state.new.state, work.snapshot))
            if work.sample and state.new.pooling is not None:
                pooled.append(Pooled(work.seq, 1, last))
            elif work.sample:
                produced = len(state.tokens) - state.new.prompt_tokens
                token = choose(
                    last, state.new.choice, produced, state.new.sampling, state.new.eos_token_ids
                )
                state.tokens.append(token)
                sampled.append(Sampled(work.seq, token))
            if (
                state.new.sampling.prompt_logprobs is not None
                and work.start < state.new.prompt_tokens
            ):
                stop = min(work.start + work.count + 1, state.new.prompt_tokens)
                entries = tuple(
                    TokenLogprobs(state.tokens[p], -float(p), 1, ())
                    for p in range(work.start + 1, stop)
                )
                if entries:
                    scores.append(Scored(work.seq, work.start + 1, entries))
        for source, target in snapshots:
            self.slots[target] = self.slots[source]
        return StepResult(
            plan.step, tuple(sampled), tuple(scores), tuple(faults), pooled=tuple(pooled)
        )

    def _verify(self, state: _State, work: Work) -> list[int]:
        """What it says at each place of a draft, up to the first wrong guess; all of the draft is
        written."""
        known, new = list(state.tokens), state.new
        assert work.count == 1 + len(work.draft)
        assert work.start + 1 == len(known)
        state.tokens += work.draft
        places = range(work.start, work.start + work.count)
        entries = [self._compute(state, place, 1, {place: None}) for place in places]
        said: list[int] = []
        for last in entries:
            said.append(
                choose(
                    last,
                    new.choice,
                    len(known) + len(said) - new.prompt_tokens,
                    new.sampling,
                    new.eos_token_ids,
                )
            )
            if (said[-1],) != work.draft[len(said) - 1 : len(said)]:
                break
        state.tokens = known + said
        return said

    def _extend(self, state: _State, work: Work) -> None:
        for table, more in enumerate(work.new_blocks):
            state.blocks[table] += more
        for blocks, total, window in zip(
            state.blocks, self.room.blocks, self.config.windows, strict=True
        ):
            first = (
                0 if window is None else max(0, work.start - window + 1) // self.config.block_size
            )
            assert all(0 < block < total for block in blocks[first:])
            assert len(set(blocks[first:])) == len(blocks[first:])

    def _compute(self, state: _State, start: int, count: int, rows: dict[int, Row]) -> bytes:
        """The entry of the last position."""
        before = self._before(state, start)
        for position in range(start, start + count):
            for table, window in enumerate(self.config.windows):
                follows = before
                for seen in range(
                    position - 1, -1 if window is None else max(-1, position - window), -1
                ):
                    held = self.kv[table][self._slot(state, table, seen)]
                    assert held.entry == follows, "a block in use was overwritten"
                    follows = held.before
            new = state.new
            turned = turned_at(position, new.positions, new.prompt_tokens, new.position_delta)
            made = entry(before, state.tokens[position], rows[position], turned)
            for table in range(len(self.kv)):
                self.kv[table][self._slot(state, table, position)] = Held(made, before)
            before = made
        if self.room.states:
            assert 0 < state.new.state < self.room.states
            self.slots[state.new.state] = before
        return before

    def _before(self, state: _State, start: int) -> bytes:
        """The entry of the position before `start`, as every table and the state must have it."""
        if not start:
            return b""
        found = {
            self.kv[table][self._slot(state, table, start - 1)].entry
            for table, window in enumerate(self.config.windows)
            if window is None or window > 1
        }
        if self.room.states:
            found.add(self.slots[state.new.state])
        (before,) = found
        return before

    def _slot(self, state: _State, table: int, position: int) -> tuple[int, int]:
        size = self.config.block_size
        block = state.blocks[table][position // size]
        assert block, "a token looks at a block that was given back"
        return block, position % size
