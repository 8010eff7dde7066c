"""The GPU runner's shell: step plans in, step results out, one at a time and in order."""

import logging
import resource
import time
from pathlib import Path
from typing import Any

import msgspec
import torch

from ...gpu_runtime.runner.runner import Runner
from ...protocol.config.roles import RunnerConfig, Threads
from ...protocol.edges.control import Gone, Peer
from ...protocol.edges.scheduler_to_gpu_runner import ForgetSequences, StepPlan
from ...protocol.memory.blobs import BlobReader
from ...protocol.topology import GPU_RUNNER, SCHEDULER
from ..kernel.blocking import BlockingActor
from ..kernel.cores import Cores
from ..kernel.launch import Launch
from .rank import Rank, placed, ranks_for

log = logging.getLogger(__name__)


class GpuRunner(BlockingActor):
    """Owns the KV and the sampler states, which the scheduler can have made again from tokens."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self._runner: Runner | None = None
        self._cores = Cores(launch.directory, GPU_RUNNER, Threads(1, 1, 1))
        """Until it is known how many threads there are."""
        self._blobs = BlobReader(launch.directory)
        self._steps = 0
        self._tokens = 0
        self._sampled = 0
        self._seconds = 0.0
        self._cpu = 0.0
        """Seconds of all threads, in steps."""
        self._max_batch = 0
        self._others: tuple[str, ...] = ()
        """Ranks that compute the model with this one, and get all that it gets."""
        self._waiting: list[Any] = []
        """Messages that came before all of them could be written to."""

    def on_start(self, config: bytes) -> dict[str, int]:
        decoded = placed(msgspec.json.decode(config, type=RunnerConfig))
        self._others = tuple(f"{GPU_RUNNER}-{rank}" for rank in range(1, decoded.ranks))
        threads = decoded.threads
        self._cores.close()
        self._cores = Cores(self.launch.directory, GPU_RUNNER, threads, decoded.sharing)
        self._runner = Runner(
            decoded,
            before_layer=None if threads.alone == threads.beside else self._share_cores,
            ranks=ranks_for(decoded, self.launch),
        )
        room, size = self._runner.room, decoded.block_size
        log.info(
            "KV cache: %s blocks of %d tokens%s; this process has %d MiB",
            " + ".join(map(str, room.blocks)) or "no",
            size,
            f", {room.states} states" if room.states else "",
            _resident() >> 20,
        )
        return room.as_notes()

    def on_idle(self) -> None:
        self._cores.rest()

    def on_stop(self) -> None:
        self._blobs.close()
        self._cores.close()

    def on_gone(self, gone: Gone) -> None:
        self._blobs.forget(f"{gone.role}.{gone.epoch}")

    def on_peer(self, role: str, peer: Peer) -> None:
        if role in self._others and all(other in self.peers for other in self._others):
            waiting, self._waiting = self._waiting, []
            for message in waiting:
                self.on_message(SCHEDULER, message)

    def on_message(self, sender: str, message: Any) -> None:
        if not all(other in self.peers for other in self._others):
            self._waiting.append(message)
            return
        for other in self._others:
            self.send(other, message)
        match message:
            case StepPlan():
                self._step(message)
            case ForgetSequences():
                assert self._runner is not None
                self._runner.reset()

    def counters(self) -> dict[str, float]:
        return {
            "steps": self._steps,
            "tokens": self._tokens,
            "sampled": self._sampled,
            "step_seconds": self._seconds,
            "beside_steps_cpu_seconds": time.process_time() - self._cpu,
            "max_batch": self._max_batch,
            "sequences": self._runner.sequences if self._runner is not None else 0,
        }

    def _share_cores(self) -> None:
        """Before each layer: a prompt takes seconds, in which the encoder begins or ends."""
        if (threads := self._cores.again()) is not None:
            torch.set_num_threads(threads)

    def _step(self, plan: StepPlan) -> None:
        assert self._runner is not None
        tokens = sum(work.count for work in plan.work)
        if tokens > len(plan.work):  # chunks of prompts
            self._runner.use_for_long_chunks(self._cores.take(long=True))
        torch.set_num_threads(self._cores.take())
        began = time.process_time()
        result = self._runner.execute(plan, self._blobs.view)
        self._cpu += time.process_time() - began
        result = msgspec.structs.replace(result, beside=self._cores.shared)
        self._steps += 1
        self._tokens += tokens
        self._sampled += len(result.sampled)
        self._seconds += result.seconds
        self._max_batch = max(self._max_batch, len(plan.work))
        for fault in result.faults:
            log.warning("step %d: sequence %d: %s", plan.step, fault.seq, fault.text)
        self.send(SCHEDULER, result)


def _resident() -> int:
    """Bytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main(launch: Launch) -> None:
    (GpuRunner if launch.role == GPU_RUNNER else Rank)(launch).run()
