"""The ranks behind the first: they get the plans that it gets, from it, and answer nobody."""

from typing import Any

import msgspec
import torch

from ...gpu_runtime.ranks.gang import ALONE, Gang, Ranks
from ...gpu_runtime.runner.runner import Runner
from ...protocol.config.roles import RunnerConfig
from ...protocol.edges.control import Gone
from ...protocol.edges.scheduler_to_gpu_runner import ForgetSequences, StepPlan
from ...protocol.errors import EngineError
from ...protocol.memory.blobs import BlobReader
from ...protocol.topology import GPU_RUNNER
from ..kernel.blocking import BlockingActor
from ..kernel.launch import Launch


def placed(config: RunnerConfig) -> RunnerConfig:
    """On the device of its own that each of several ranks has."""
    if config.ranks == 1 or config.device == "cpu":
        return config
    if (there := torch.cuda.device_count()) < config.ranks:
        raise EngineError(
            f"tensor_parallel_size={config.ranks} wants as many GPUs, and this machine has {there}."
        )
    return msgspec.structs.replace(config, device=f"cuda:{config.rank}")


def ranks_for(config: RunnerConfig, launch: Launch) -> Ranks:
    """Raises EngineError where they do not find each other."""
    if config.ranks == 1:
        return ALONE
    meeting = launch.directory / f"{GPU_RUNNER}.{launch.epoch}.gang"
    return Gang(config.rank, config.ranks, meeting, torch.device(config.device))


class Rank(BlockingActor):
    """Owns its part of the weights and of the KV."""

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch)
        self._runner: Runner | None = None
        self._threads = 1
        self._blobs = BlobReader(launch.directory)

    def on_start(self, config: bytes) -> dict[str, int]:
        decoded = placed(msgspec.json.decode(config, type=RunnerConfig))
        self._threads = decoded.threads.alone
        self._runner = Runner(decoded, ranks=ranks_for(decoded, self.launch))
        return {}

    def on_stop(self) -> None:
        self._blobs.close()

    def on_gone(self, gone: Gone) -> None:
        self._blobs.forget(f"{gone.role}.{gone.epoch}")

    def on_message(self, sender: str, message: Any) -> None:
        assert self._runner is not None
        match message:
            case StepPlan():
                self._runner.use_for_long_chunks(self._threads)
                self._runner.execute(message, self._blobs.view)
            case ForgetSequences():
                self._runner.reset()
