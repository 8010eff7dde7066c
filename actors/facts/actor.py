"""One answer to the director, `Facts` or `Fatal`, and the end: forked from the zygote, whose
imports make it quick."""

import logging
import resource
from contextlib import suppress
from typing import Any

import msgspec
import zmq
from transformers import conversion_mapping

from ...gpu_runtime.facts.model import measured, with_items
from ...gpu_runtime.inspection.hf import load_config, model_class
from ...gpu_runtime.processing import load
from ...protocol.config.engine import RunnerKind
from ...protocol.config.roles import FactsConfig
from ...protocol.edges.control import Facts, Fatal, Refused
from ...protocol.errors import EngineError
from ...protocol.facts import ModelFacts
from ..kernel.budget import BudgetError, CpuSpent, memory_budget, within_cpu
from ..kernel.launch import Launch
from ..kernel.link import START_SECONDS, DirectorLink

log = logging.getLogger(__name__)

CPU_SECONDS = 30.0
"""That a model's facts may take; of published ones they take a second or two."""
ENDLESS = 2
"""Times as much, and the kernel ends what no signal reaches."""
ITEM_MEMORY = 4 << 30
"""Bytes that a processor, a chat template and a small item of each modality may take."""


def found(folder: str, runner: RunnerKind = "auto", ranks: int = 1) -> ModelFacts:
    """The facts of the model in `folder`, which is nobody's that is trusted: its chat template and
    its processor's numbers may ask for anything. Raises EngineError."""
    try:
        return within_cpu(CPU_SECONDS, lambda: _found(folder, runner, ranks))
    except CpuSpent:
        text = (
            f"What the model in {folder!r} is takes more than {CPU_SECONDS:g} s of CPU time to "
            f"find out"
        )
    except BudgetError:
        text = f"A small item takes the model in {folder!r} more than {ITEM_MEMORY >> 30} GiB"
    raise EngineError(
        f"{text}: its chat template, or a number in its configuration or its processor's, is "
        f"beyond all measure."
    )


def _found(folder: str, runner: RunnerKind, ranks: int) -> ModelFacts:
    facts, model = measured(folder, runner, ranks)
    with memory_budget(ITEM_MEMORY):
        return with_items(facts, model, load(facts.path))


def preload(model: str) -> None:
    """Have the modules of the model in `model` and of its processor imported, for who is forked
    from this process.

    What is wrong with the model is not said here; within the limits of `found`, for all others are
    forked from this.
    """
    with suppress(EngineError, BudgetError, CpuSpent):
        within_cpu(CPU_SECONDS, lambda: _preload(model))


def _preload(model: str) -> None:
    config = load_config(model)
    patterns: Any = conversion_mapping.get_checkpoint_conversion_mapping  # untyped
    patterns(config.model_type)  # the first call compiles those of all types
    model_class(config)
    with memory_budget(ITEM_MEMORY):
        load(model)


def main(launch: Launch) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = DirectorLink(context, launch.run_dir, launch.role, launch.epoch)
    welcome = link.hello(START_SECONDS)
    if isinstance(welcome, Refused):
        raise SystemExit(welcome.text)
    link.start_heartbeats()
    config = msgspec.json.decode(welcome.config, type=FactsConfig)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(ENDLESS * CPU_SECONDS), hard))
    try:
        facts = found(config.model, config.runner, config.ranks)
        link.send(Facts(launch.role, launch.epoch, facts, _gpu_bytes() if config.cuda else None))
    except EngineError as error:
        link.send(Fatal(launch.role, launch.epoch, str(error)))
    except Exception as error:
        log.exception("the model's facts cannot be found")
        text = (
            f"What the model in {config.model!r} is cannot be found out ({type(error).__name__}: "
            f"{error}); see the log."
        )
        link.send(Fatal(launch.role, launch.epoch, text))
    link.close()
    context.term()


def _gpu_bytes() -> int:
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)
