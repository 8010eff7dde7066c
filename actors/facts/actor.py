"""One answer to the director, `Facts` or `Fatal`, and the end: forked from the zygote, whose imports make it quick."""

import logging
from contextlib import suppress

import msgspec
import zmq

from ...gpu_runtime.facts import model_facts
from ...gpu_runtime.hf import load_config, model_class
from ...gpu_runtime.processing import load
from ...protocol.edges.control import Facts, Fatal, Refused
from ...protocol.errors import EngineError
from ...protocol.roles import FactsConfig
from ..launch import Launch
from ..link import START_SECONDS, DirectorLink

log = logging.getLogger(__name__)


def preload(model: str) -> None:
    """Have the modules of the model in `model` and of its processor imported, for who is forked from this process.

    What is wrong with the model is not said here.
    """
    with suppress(EngineError):
        model_class(load_config(model))
        load(model)


def main(launch: Launch) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    link = DirectorLink(context, launch.run_dir, launch.role, launch.epoch)
    welcome = link.hello(START_SECONDS)
    if isinstance(welcome, Refused):
        raise SystemExit(welcome.text)
    link.start_heartbeats()
    config = msgspec.json.decode(welcome.config, type=FactsConfig)
    try:
        facts = model_facts(config.model)
        link.send(Facts(launch.role, launch.epoch, facts, _gpu_bytes() if config.cuda else None))
    except EngineError as error:
        link.send(Fatal(launch.role, launch.epoch, str(error)))
    except Exception as error:
        log.exception("the model's facts cannot be found")
        text = f"What the model in {config.model!r} is cannot be found out ({type(error).__name__}: {error}); see the log."
        link.send(Fatal(launch.role, launch.epoch, text))
    link.close()
    context.term()


def _gpu_bytes() -> int:
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)
