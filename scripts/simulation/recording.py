"""Plays the scheduler of a real engine, and writes down what each step took, in the run's folder.

Its first line is the scheduler's configuration; then each says of one thing when it was."""

import time
from collections import deque
from io import FileIO
from typing import Any

import msgspec

from thespis.actors.kernel.actor import run
from thespis.actors.kernel.launch import Launch
from thespis.actors.scheduler.actor import SchedulerActor
from thespis.protocol.config.roles import SchedulerConfig
from thespis.protocol.edges.encoder_cache_to_scheduler import EmbeddingReady
from thespis.protocol.edges.gpu_runner_to_scheduler import StepResult
from thespis.protocol.edges.preprocessor_to_scheduler import Submit
from thespis.protocol.edges.scheduler_to_detokenizer import Outputs
from thespis.protocol.edges.scheduler_to_gpu_runner import StepPlan
from thespis.protocol.wire import Message

from .times import Shape

FILE = "recorded.jsonl"


class Step(msgspec.Struct, frozen=True, tag=True):
    shape: Shape
    began: float
    """Of the machine's clock, like the next: when the runner could begin with it..."""
    ended: float
    """... and when its answer was here."""
    inside: float
    beside: bool


class Arrived(msgspec.Struct, frozen=True, tag=True):
    id: str
    arrival: float
    here: float
    decoding: tuple[tuple[float, float], ...]
    """When each of its items was begun and decoded."""
    rows: tuple[int, ...]
    tokens: int
    """Of its prompt."""


class First(msgspec.Struct, frozen=True, tag=True):
    """Its first token has been told."""

    id: str
    at: float


class Encoded(msgspec.Struct, frozen=True, tag=True):
    began: float
    ended: float
    detail: str


class Config(msgspec.Struct, frozen=True, tag=True):
    scheduler: SchedulerConfig


Record = Config | Step | Arrived | First | Encoded


class RecordingScheduler(SchedulerActor):
    _file: FileIO

    async def on_start(self, config: bytes) -> dict[str, int]:
        self._file = FileIO(str(self.launch.directory / FILE), "a")
        self._flying: deque[tuple[Shape, float]] = deque()
        self._answered = 0.0
        notes = await super().on_start(config)
        self._write(Config(self.policy.config))
        return notes

    def _write(self, record: Record) -> None:
        self._file.write(msgspec.json.encode(record) + b"\n")

    def send(self, name: str, message: Message, after: int = -1) -> bool:
        if isinstance(message, StepPlan):
            self._flying.append((Shape.of(message), time.monotonic()))
        elif isinstance(message, Outputs):
            now = time.monotonic()
            for output in message.outputs:
                if not output.position:
                    self._write(First(output.id, now))
        return super().send(name, message, after)

    def on_message(self, sender: str, message: Any) -> None:
        match message:
            case StepResult() if self._flying:
                now = time.monotonic()
                shape, sent = self._flying.popleft()
                began = max(sent, self._answered)
                self._answered = now
                self._write(Step(shape, began, now, message.seconds, message.beside))
            case Submit(prepared):
                decoding = tuple((t.start, t.end) for t in prepared.timings if t.stage == "decode")
                rows = tuple(item.rows for item in prepared.items)
                now = time.monotonic()
                tokens = len(prepared.token_ids)
                self._write(Arrived(prepared.id, prepared.arrival, now, decoding, rows, tokens))
            case EmbeddingReady(timing=timing) if timing is not None:
                self._write(Encoded(timing.start, timing.end, timing.detail))
        super().on_message(sender, message)

    async def on_stop(self) -> None:
        self._file.close()
        await super().on_stop()


def main(launch: Launch) -> None:
    run(RecordingScheduler(launch))
