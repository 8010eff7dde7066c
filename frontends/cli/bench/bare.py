"""The runner of an engine without the engine: plans that are made beforehand, in this process, so
that what remains is the model. Where this is imported, torch is."""

import time
from collections.abc import Iterator

from ....actors.director.machine import this_machine
from ....gpu_runtime.facts.model import model_facts
from ....gpu_runtime.runner.runner import Runner
from ....protocol.config.division import divide
from ....protocol.config.engine import EngineConfig
from ....protocol.config.roles import RunnerConfig
from ....protocol.edges.scheduler_to_gpu_runner import NewSequence, StepPlan, Work
from ....protocol.errors import EngineError
from ....protocol.memory.blobs import BlobError, BlobRef
from ....protocol.requests.sampling import SamplingParams
from ....protocol.topology import GPU_RUNNER

GREEDY = SamplingParams(temperature=0.0, seed=0)


class BareRunner:
    """`fused`: see `Runner`. Raises EngineError for what an engine would be refused for, and for a
    model that makes vectors."""

    def __init__(self, engine: EngineConfig, *, fused: bool = True) -> None:
        facts, machine = model_facts(engine.model, engine.runner), this_machine()
        if facts.output != "token":
            raise EngineError("This model makes vectors: it has no decode loop to measure.")
        division = divide(engine, facts, machine.no_cuda is None, bfloat16=machine.bfloat16)
        config = division.roles[GPU_RUNNER]
        assert isinstance(config, RunnerConfig)
        self.config, self.facts = config, facts
        self._runner = Runner(config, fused=fused)

    def decode_steps(
        self,
        sequences: int,
        prompt: int,
        steps: int,
        longest: int,
        sampling: SamplingParams = GREEDY,
    ) -> Iterator[float]:
        """The seconds of each of `steps` decode steps of so many sequences, behind prompts of
        `prompt` tokens. `longest`: tokens of each that there is room for."""
        self._runner.reset()
        for seq in range(sequences):
            self._begin(seq, prompt, longest, sampling)
        for step in range(steps):
            work = tuple(Work(seq, prompt + step, 1, True) for seq in range(sequences))
            plan = StepPlan(step + 1, (), work, (), ())
            began = time.perf_counter()
            result = self._runner.execute(plan, _no_blobs)
            yield time.perf_counter() - began
            assert len(result.sampled) == sequences, result.faults

    def prompt_seconds(self, tokens: int) -> float:
        """What a prompt takes, with the first token of its answer."""
        self._runner.reset()
        began = time.perf_counter()
        self._begin(0, tokens, tokens, GREEDY)
        return time.perf_counter() - began

    def _begin(self, seq: int, prompt: int, longest: int, sampling: SamplingParams) -> None:
        """Compute the prompt of a sequence that will have `longest` tokens, in steps as large as
        the engine's."""
        config = self.config
        per = -(-longest // config.block_size) + 1
        blocks = tuple(range(1 + seq * per, 1 + (seq + 1) * per))
        tables = (blocks,) * len(self._runner.room.blocks)
        ids = tuple((seq * 31 + i * 7) % min(256, self.facts.vocab) for i in range(prompt))
        state = 1 + seq if self.facts.recurrent else 0
        new = (NewSequence(seq, ids, prompt, None, 0, sampling, 0, (), tables, state),)
        for start in range(0, prompt, config.max_batched_tokens):
            count = min(config.max_batched_tokens, prompt - start)
            work = (Work(seq, start, count, start + count == prompt),)
            plan = StepPlan(0, new if start == 0 else (), work, (), ())
            result = self._runner.execute(plan, _no_blobs)
            assert not result.faults, result.faults


def _no_blobs(ref: BlobRef) -> memoryview:
    raise BlobError("no blobs in this measurement")
