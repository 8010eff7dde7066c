"""The shell: plans in order, answers to the scheduler, blobs from shared memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from thespis.actors.gpu_runner.actor import GpuRunner
from thespis.actors.kernel.launch import Launch
from thespis.frontends.openai.engine_metrics import COUNTS
from thespis.protocol.config.roles import RunnerConfig, Threads, encode_config
from thespis.protocol.edges.control import Gone, Peer
from thespis.protocol.edges.gpu_runner_to_scheduler import StepResult
from thespis.protocol.edges.scheduler_to_gpu_runner import (
    Embed,
    ForgetSequences,
    NewSequence,
    StepPlan,
    Work,
)
from thespis.protocol.memory.blobs import Arena
from thespis.protocol.requests.sampling import SamplingParams
from thespis.protocol.wire import Message

from ...gpu_runtime.driving import runner_config
from ...helpers.checkpoints import Checkpoints

PEER = Peer(1, 1, "ipc://x", "ipc://y")
PROMPT = (5, 6, 7, 8, 9)


class Stage:
    """The actor, what it sent, and whether its scheduler can be written to."""

    def __init__(self, run_dir: Path, config: RunnerConfig) -> None:
        self.run_dir = run_dir
        self.actor = GpuRunner(
            Launch("gpu-runner", 1, str(run_dir), "thespis.actors.gpu_runner.actor")
        )
        self.sent: list[Any] = []
        self.reachable = True
        self.actor.send = self._send  # type: ignore[method-assign]
        self.notes = self.actor.on_start(encode_config(config))

    def _send(self, name: str, message: Message, after: int = -1) -> bool:
        assert name == "scheduler"
        if self.reachable:
            self.sent.append(message)
        return self.reachable

    def say(self, message: Message) -> None:
        self.actor.on_message("scheduler", message)

    def close(self) -> None:
        self.actor.on_stop()
        self.actor.link.close()
        self.actor.context.term()


@pytest.fixture
def stage(tmp_path: Path, checkpoints: Checkpoints) -> Iterator[Stage]:
    made = Stage(tmp_path, runner_config(checkpoints("llava")))
    yield made
    made.close()


def prefill(step: int, seq: int = 1, embeds: tuple[Embed, ...] = ()) -> StepPlan:
    new = NewSequence(
        seq, PROMPT, len(PROMPT), None, 0, SamplingParams(temperature=0.0), 0, (), ((1, 2, 3),)
    )
    return StepPlan(step, (new,), (Work(seq, 0, len(PROMPT), True),), embeds, ())


def decode(step: int, seq: int = 1) -> StepPlan:
    return StepPlan(step, (), (Work(seq, len(PROMPT) + step - 1, 1, True),), (), ())


def test_plans_are_answered_in_order_and_counted(stage: Stage) -> None:
    assert stage.notes["blocks 0"] > 1
    for step, plan in enumerate((prefill(0), decode(1), decode(2))):
        stage.say(plan)
        assert stage.sent[-1].step == step
    assert all(isinstance(result, StepResult) and len(result.sampled) == 1 for result in stage.sent)
    counters = stage.actor.counters()
    assert (counters["steps"], counters["tokens"], counters["sampled"], counters["max_batch"]) == (
        3,
        7,
        3,
        1,
    )
    assert counters["step_seconds"] > 0
    assert counters["beside_steps_cpu_seconds"] > 0
    assert {name for name in counters if name.endswith("_seconds")} <= COUNTS


def test_the_encoder_is_looked_for_within_a_step(
    tmp_path: Path, checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt of a large model takes a second and more, in which it begins or ends."""
    config = runner_config(checkpoints("llava"))
    config = msgspec.structs.replace(config, threads=Threads(2, 1, 2))
    stage = Stage(tmp_path, config)
    before, seen = torch.get_num_threads(), list[int]()

    def again() -> int | None:
        seen.append(torch.get_num_threads())
        return 1 if len(seen) == 2 else None

    monkeypatch.setattr(stage.actor._cores, "again", again)
    try:
        stage.say(prefill(0))
        assert seen == [2, 2, 1], "by each layer"
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
        stage.close()


def test_reset_forgets_sequences(stage: Stage) -> None:
    stage.say(prefill(0))
    stage.say(ForgetSequences())
    stage.say(decode(1))
    assert [fault.seq for fault in stage.sent[-1].faults] == [1]


def test_embeddings_come_from_shared_memory(stage: Stage) -> None:
    stage.say(prefill(0))
    arena = Arena(stage.run_dir, "encoder-cache.1", 1 << 26)
    try:
        rows = torch.randn(4, 64, generator=torch.Generator().manual_seed(0)) * 3
        blob = arena.put(rows.numpy().tobytes(), "float32", (4, 64))
        stage.say(prefill(1, seq=2, embeds=(Embed(2, 1, 3, 1, blob),)))
        stage.say(prefill(2, seq=3, embeds=(Embed(3, 1, 3, 0, blob),)))
        arena.free(blob)
    finally:
        arena.close()
    stage.say(prefill(3, seq=4, embeds=(Embed(4, 0, 2, 0, blob),)))
    tokens = [result.sampled[0].token_id for result in stage.sent[:3]]
    assert len(set(tokens)) == 3
    assert [len(result.faults) for result in stage.sent] == [
        0,
        0,
        0,
        0,
    ]  # the segment is unlinked, but still mapped
    stage.actor.on_gone(Gone("encoder-cache", 1))
    stage.say(prefill(4, seq=5, embeds=(Embed(5, 0, 2, 0, blob),)))
    assert stage.sent[-1].faults[0].text == "An embedding of the request could not be read."
