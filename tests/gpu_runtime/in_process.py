"""A real runner as the model of a scheduler's bench, with the rows of items at hand."""

from collections.abc import Mapping
from typing import Any

from thespis.gpu_runtime.runner.runner import Runner
from thespis.protocol.config.roles import SchedulerConfig
from thespis.protocol.edges.encoder_cache_to_scheduler import EmbeddingReady
from thespis.protocol.edges.gpu_runner_to_scheduler import StepResult
from thespis.protocol.edges.scheduler_to_detokenizer import Output
from thespis.protocol.edges.scheduler_to_gpu_runner import StepPlan
from thespis.protocol.memory.blobs import BlobError, BlobRef

from ..actors.scheduler.bench import Bench

Heard = dict[tuple[str, int], list[tuple[Any, ...]]]
"""By request and choice: of each token all that a caller can ask for, log-probabilities to the last
bit."""


class InProcess:
    """`rows`: bytes of embeddings by key."""

    steps = 0

    def __init__(self, runner: Runner, rows: Mapping[str, bytes], _: SchedulerConfig) -> None:
        runner.reset()
        self.runner = runner
        self.rows = rows

    def run(self, plan: StepPlan, unreadable: bool = False) -> StepResult:
        result = self.runner.execute(plan, self._read)
        assert not result.faults, result.faults
        return result

    def _read(self, ref: BlobRef) -> memoryview:
        if ref.segment not in self.rows:
            raise BlobError("no such rows")
        return memoryview(self.rows[ref.segment])


class WideBench(Bench):
    """Its embeddings have as many columns as the model's; `width` is set before anything is
    asked."""

    width = 1

    def give(self, holder: str, key: str) -> None:
        rows = dict(zip(self.needs[holder].keys, self.needs[holder].rows, strict=True))[key]
        self.given.add((holder, key))
        blob = BlobRef(key, 0, "float32", (rows, self.width))
        self.policy.ready(EmbeddingReady(key, (holder,), blob), self.time)


class Listening(WideBench):
    """Keeps the log-probabilities of every token of which they were asked for."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.heard: Heard = {}
        super().__init__(*given, **named)

    def _output(self, output: Output) -> None:
        super()._output(output)
        if output.logprobs:
            self.heard.setdefault((output.id, output.choice), []).extend(
                zip(output.token_ids, output.logprobs, strict=True)
            )
