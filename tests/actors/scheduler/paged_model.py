"""A model whose KV cache can be checked: what a position holds names everything before it.

The entry of a position is a digest of the entry before it (read through the block table), its token and its embedding row;
the next token is drawn from the last entry. A block shared wrongly, written twice or reused too early changes tokens or
trips an assertion.
"""

from dataclasses import dataclass, field
from hashlib import sha256

from thespis.protocol.edges.gpu_runner_to_scheduler import PromptLogprobs, Sampled, SequenceFault, StepResult, TokenLogprobs
from thespis.protocol.edges.scheduler_to_gpu_runner import NewSequence, StepPlan
from thespis.protocol.prepared import Prepared
from thespis.protocol.sampling import SamplingParams

EOS = 1
VOCAB = 12
Row = tuple[str, int] | None


def entry(before: bytes, token: int, row: Row) -> bytes:
    return sha256(before + repr((token, row)).encode()).digest()


def choose(last: bytes, choice: int, produced: int, sampling: SamplingParams, eos: tuple[int, ...]) -> int:
    """The next token; end tokens only from `min_tokens` on."""
    digest = sha256(last + bytes([choice])).digest()
    token = digest[0] % VOCAB
    return 2 + digest[1] % (VOCAB - 2) if token in eos and produced < sampling.min_tokens else token


def oracle(prepared: Prepared, choice: int) -> list[int]:
    """What a choice must answer, computed alone and without a cache."""
    rows: dict[int, Row] = {}
    for item in prepared.items:
        for span in item.spans:
            rows.update({span.start + i: (item.key, span.offset + i) for i in range(span.length)})
    last = b""
    for position, token in enumerate(prepared.token_ids):
        last = entry(last, token, rows.get(position))
    output: list[int] = []
    sampling = prepared.sampling
    assert sampling.max_tokens is not None
    while len(output) < sampling.max_tokens:
        token = choose(last, choice, len(output), sampling, prepared.eos_token_ids)
        output.append(token)
        if len(output) >= sampling.min_tokens and (
            (token in prepared.eos_token_ids and not sampling.ignore_eos) or token in sampling.stop_token_ids
        ):
            break
        last = entry(last, token, None)
    return output


@dataclass
class _State:
    new: NewSequence
    tokens: list[int]
    blocks: list[int]
    entries: list[bytes] = field(default_factory=list)
    """What its positions must hold."""
    faulty: bool = False


class PagedModel:
    """Executes plans in order, as the GPU runner would."""

    def __init__(self, num_blocks: int, block_size: int, budget: int) -> None:
        self.num_blocks, self.block_size, self.budget = num_blocks, block_size, budget
        self.kv: dict[tuple[int, int], bytes] = {}
        self.states: dict[int, _State] = {}
        self.steps = 0

    def run(self, plan: StepPlan, unreadable: bool = False) -> StepResult:
        """`unreadable`: the embeddings of this step have gone."""
        self.steps += 1
        assert plan.step == self.steps
        assert sum(work.count for work in plan.work) <= self.budget
        assert len({work.seq for work in plan.work}) == len(plan.work)
        for seq in plan.drop:
            del self.states[seq]
        for new in plan.new:
            assert new.seq not in self.states
            self.states[new.seq] = _State(new, list(new.token_ids), list(new.block_table))
        rows: dict[tuple[int, int], Row] = {}
        for embed in plan.embeds:
            self.states[embed.seq].faulty |= unreadable
            key = embed.blob.segment
            rows.update({(embed.seq, embed.start + i): (key, embed.row + i) for i in range(embed.count)})
        sampled, scores, faults = [], [], []
        for work in plan.work:
            state = self.states[work.seq]
            if state.faulty:
                faults.append(SequenceFault(work.seq, "unreadable"))
                continue
            state.blocks += work.new_blocks
            assert all(0 < block < self.num_blocks for block in state.blocks)
            assert len(set(state.blocks)) == len(state.blocks)
            self._compute(
                state, work.start, work.count, {p: rows.get((work.seq, p)) for p in range(work.start, work.start + work.count)}
            )
            if work.sample:
                last = self.kv[self._slot(state, work.start + work.count - 1)]
                produced = len(state.tokens) - state.new.prompt_tokens
                token = choose(last, state.new.choice, produced, state.new.sampling, state.new.eos_token_ids)
                state.tokens.append(token)
                sampled.append(Sampled(work.seq, token))
            if state.new.sampling.prompt_logprobs is not None and work.start < state.new.prompt_tokens:
                stop = min(work.start + work.count + 1, state.new.prompt_tokens)
                entries = tuple(TokenLogprobs(state.tokens[p], -float(p), 1, ()) for p in range(work.start + 1, stop))
                if entries:
                    scores.append(PromptLogprobs(work.seq, work.start + 1, entries))
        return StepResult(plan.step, tuple(sampled), tuple(scores), tuple(faults))

    def _compute(self, state: _State, start: int, count: int, rows: dict[int, Row]) -> None:
        for position in range(start):
            held = self.kv[self._slot(state, position)]
            if position < len(state.entries):
                assert held == state.entries[position], "a block in use was overwritten"
            else:
                state.entries.append(held)  # of a prefix hit: proved by the tokens that follow from it
        del state.entries[start:]
        for position in range(start, start + count):
            before = self.kv[self._slot(state, position - 1)] if position else b""
            made = entry(before, state.tokens[position], rows[position])
            self.kv[self._slot(state, position)] = made
            state.entries.append(made)

    def _slot(self, state: _State, position: int) -> tuple[int, int]:
        return state.blocks[position // self.block_size], position % self.block_size
