"""A GPU runner without a GPU, a model or torch: it keeps the books of the plans and answers by a
rule.

The rule: the next token is drawn from a digest of all tokens so far; `expected` says what a prompt
must get. Tokens are letters and spaces of a byte-level vocabulary in GPT-2's order ('!' is 0, 'a'
is 64, a space is 220), as in the bundled demo model's tokenizer.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from thespis.actors.kernel.blocking import BlockingActor
from thespis.actors.kernel.launch import Launch
from thespis.protocol.config.roles import RunnerConfig
from thespis.protocol.config.room import Room
from thespis.protocol.edges.gpu_runner_to_scheduler import (
    Sampled,
    Scored,
    SequenceFault,
    StepResult,
    TokenLogprobs,
)
from thespis.protocol.edges.scheduler_to_gpu_runner import (
    ForgetSequences,
    NewSequence,
    StepPlan,
    Work,
)
from thespis.protocol.requests.sampling import SamplingParams

STEP_SECONDS = float(os.environ.get("FAKE_STEP_SECONDS", "0"))
"""How long a step pretends to take."""
NUM_BLOCKS = 4096
"""Reported where the configuration leaves it to the runner."""

LETTERS = tuple(range(64, 90))
SPACE = 220


def _digest(token_ids: Sequence[int], salt: int) -> bytes:
    return sha256(repr((tuple(token_ids), salt)).encode()).digest()


def length_of(prompt: Sequence[int], choice: int) -> int:
    """After so many tokens the model itself wants to end: 4 to 35."""
    return 4 + _digest(prompt, choice)[2] % 32


def next_token(
    token_ids: Sequence[int],
    prompt_tokens: int,
    choice: int,
    sampling: SamplingParams,
    eos: tuple[int, ...],
) -> int:
    """The token after `token_ids` (prompt and output so far)."""
    produced = len(token_ids) - prompt_tokens
    prompt = token_ids[:prompt_tokens]
    if (
        eos
        and not sampling.ignore_eos
        and produced >= max(sampling.min_tokens, length_of(prompt, choice))
    ):
        return eos[0]
    digest = _digest(token_ids, choice)
    return SPACE if digest[0] < 48 else LETTERS[digest[1] % len(LETTERS)]


def expected(
    prompt: Sequence[int], sampling: SamplingParams, eos: tuple[int, ...], choice: int = 0
) -> list[int]:
    """The whole answer, its end token included."""
    tokens, count = list(prompt), len(prompt)
    limit = sampling.max_tokens if sampling.max_tokens is not None else 1 << 30
    while len(tokens) - count < limit:
        token = next_token(tokens, count, choice, sampling, eos)
        tokens.append(token)
        stops = token in eos and not sampling.ignore_eos
        if stops or (
            token in sampling.stop_token_ids and len(tokens) - count >= sampling.min_tokens
        ):
            break
    return tokens[count:]


@dataclass
class _State:
    new: NewSequence
    tokens: list[int]


class FakeRunner(BlockingActor):
    """Answers every plan at once, or after STEP_SECONDS."""

    def on_start(self, config: bytes) -> dict[str, int]:
        settings = msgspec.json.decode(config, type=RunnerConfig)
        self._states: dict[int, _State] = {}
        self._steps = 0
        self._rows = 0
        return (settings.room or Room((NUM_BLOCKS,))).as_notes()

    def on_message(self, sender: str, message: Any) -> None:
        match message:
            case ForgetSequences():
                self._states.clear()
            case StepPlan():
                if STEP_SECONDS:
                    time.sleep(STEP_SECONDS)
                self.send("scheduler", self.step(message))

    def counters(self) -> dict[str, float]:
        return {"steps": self._steps, "sequences": len(self._states), "embedding_rows": self._rows}

    def step(self, plan: StepPlan) -> StepResult:
        self._steps += 1
        for seq in plan.drop:
            self._states.pop(seq, None)
        for new in plan.new:
            self._states[new.seq] = _State(new, list(new.token_ids))
        self._rows += sum(embed.count for embed in plan.embeds)
        sampled: list[Sampled] = []
        scores: list[Scored] = []
        faults: list[SequenceFault] = []
        for work in plan.work:
            state = self._states.get(work.seq)
            if state is None or work.start + work.count > len(state.tokens):
                faults.append(SequenceFault(work.seq, "not known, or ahead of its tokens"))
                continue
            if (
                state.new.sampling.prompt_logprobs is not None
                and work.start < state.new.prompt_tokens
            ):
                scores.append(self._score(state, work))
            if work.sample:
                sampled.append(self._sample(state, work.seq))
        return StepResult(plan.step, tuple(sampled), tuple(scores), tuple(faults), STEP_SECONDS)

    @staticmethod
    def _sample(state: _State, seq: int) -> Sampled:
        new = state.new
        token = next_token(
            state.tokens, new.prompt_tokens, new.choice, new.sampling, new.eos_token_ids
        )
        state.tokens.append(token)
        wanted = new.sampling.logprobs
        return Sampled(seq, token, None if wanted is None else _logprobs(token, wanted))

    @staticmethod
    def _score(state: _State, work: Work) -> Scored:
        """The logits of a position give the log-probability of the next one."""
        stop = min(work.start + work.count + 1, state.new.prompt_tokens)
        wanted = state.new.sampling.prompt_logprobs or 0
        entries = tuple(_logprobs(token, wanted) for token in state.tokens[work.start + 1 : stop])
        return Scored(work.seq, work.start + 1, entries)


def _logprobs(token: int, wanted: int) -> TokenLogprobs:
    """The chosen token has probability one half, the next alternatives a quarter, an eighth ..."""
    top = tuple((token + i, -0.6931 * (i + 1)) for i in range(wanted))
    return TokenLogprobs(token, -0.6931, 1, top)


def main(launch: Launch) -> None:
    FakeRunner(launch).run()
