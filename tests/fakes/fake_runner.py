"""A GPU runner without a GPU, a model or torch: it keeps the books of the plans and answers by the rule in `tokens`."""

import os
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from fakes.tokens import next_token

from thespis.actors.blocking import BlockingActor
from thespis.actors.launch import Launch
from thespis.protocol.config import RunnerConfig
from thespis.protocol.edges.control import Peer
from thespis.protocol.edges.gpu_runner_to_scheduler import PromptLogprobs, Sampled, SequenceFault, StepResult, TokenLogprobs
from thespis.protocol.edges.scheduler_to_gpu_runner import NewSequence, Reset, StepPlan, Work

STEP_SECONDS = float(os.environ.get("FAKE_STEP_SECONDS", "0"))
"""How long a step pretends to take."""
NUM_BLOCKS = 4096
"""Reported where the configuration leaves it to the runner."""


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
        return {"num_blocks": settings.num_blocks or NUM_BLOCKS}

    def on_peer(self, role: str, peer: Peer) -> None:
        if role == "scheduler":
            self._states.clear()

    def on_message(self, sender: str, message: Any) -> None:
        match message:
            case Reset():
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
        scores: list[PromptLogprobs] = []
        faults: list[SequenceFault] = []
        for work in plan.work:
            state = self._states.get(work.seq)
            if state is None or work.start + work.count > len(state.tokens):
                faults.append(SequenceFault(work.seq, "not known, or ahead of its tokens"))
                continue
            if state.new.sampling.prompt_logprobs is not None and work.start < state.new.prompt_tokens:
                scores.append(self._score(state, work))
            if work.sample:
                sampled.append(self._sample(state, work.seq))
        return StepResult(plan.step, tuple(sampled), tuple(scores), tuple(faults), STEP_SECONDS)

    @staticmethod
    def _sample(state: _State, seq: int) -> Sampled:
        new = state.new
        token = next_token(state.tokens, new.prompt_tokens, new.choice, new.sampling, new.eos_token_ids)
        state.tokens.append(token)
        wanted = new.sampling.logprobs
        return Sampled(seq, token, None if wanted is None else _logprobs(token, wanted))

    @staticmethod
    def _score(state: _State, work: Work) -> PromptLogprobs:
        """The logits of a position give the log-probability of the next one."""
        stop = min(work.start + work.count + 1, state.new.prompt_tokens)
        wanted = state.new.sampling.prompt_logprobs or 0
        entries = tuple(_logprobs(token, wanted) for token in state.tokens[work.start + 1 : stop])
        return PromptLogprobs(work.seq, work.start + 1, entries)


def _logprobs(token: int, wanted: int) -> TokenLogprobs:
    """The chosen token has probability one half, the next alternatives a quarter, an eighth ..."""
    top = tuple((token + i, -0.6931 * (i + 1)) for i in range(wanted))
    return TokenLogprobs(token, -0.6931, 1, top)


def main(launch: Launch) -> None:
    FakeRunner(launch).run()
