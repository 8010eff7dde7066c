"""Each process's part of the configuration: known when it is known what the model is."""

import logging

from ...protocol.config.division import Division, actors_of, divide, share_of
from ...protocol.config.engine import EngineConfig
from ...protocol.config.roles import FactsConfig, RunnerConfig, encode_config
from ...protocol.config.speculation import speculation
from ...protocol.facts import ModelFacts
from ...protocol.topology import FACTS, GPU_RUNNER, HTTP, kind_of
from .config import DirectorConfig
from .machine import no_cuda, refuse_too_large, this_machine

log = logging.getLogger(__name__)


class Parts:
    """`members`: the roles that the director keeps alive, known at once."""

    def __init__(self, config: DirectorConfig) -> None:
        self._config = config
        self._division: Division | None = None
        self.share = share_of(config.engine)
        first = () if config.cast.facts is not None else (FACTS,)
        self.members = [
            *first,
            *actors_of(config.engine),
            *(() if config.server is None else (HTTP,)),
        ]

    @property
    def known(self) -> bool:
        return self._division is not None

    def divide(self, model: ModelFacts, gpu_bytes: int | None) -> None:
        """Raises EngineError for settings that contradict the model, or want too much memory."""
        config, machine = self._config, this_machine()
        cuda = machine.no_cuda is None
        memory = (
            machine.memory
            if gpu_bytes is None
            else int(gpu_bytes * config.engine.gpu_memory_utilization)
        )
        division = divide(config.engine, model, cuda, config.server, memory, machine.bfloat16)
        runner = division.roles[GPU_RUNNER]
        assert isinstance(runner, RunnerConfig)
        refuse_too_large(config.engine, runner, machine.memory)
        log.info("the model is %s", _described(model))
        log.info(
            "weights stored as %s%s are computed with in %s on %s, by %d threads (%d while the "
            "encoder computes, too)",
            model.dtype,
            " and held in eight bits" if runner.quantization == "int8" else "",
            runner.dtype,
            runner.device,
            runner.threads.alone,
            runner.threads.beside,
        )
        if switches := _switches(config.engine):
            log.info("not as usual: %s", "; ".join(switches))
        if config.engine.max_model_len is None and division.max_model_len < model.context:
            log.info(
                "max_model_len is %d of the model's %d tokens: one longer sequence would take "
                "over half of the memory; "
                "set it to have more",
                division.max_model_len,
                model.context,
            )
        step = config.engine.max_num_batched_tokens
        if step is not None and runner.max_batched_tokens > step:
            log.info(
                "a step may have max_model_len=%d tokens and not max_num_batched_tokens=%d: "
                "every token of a prompt sees all "
                "others, so it is computed in one step; set max_model_len to have shorter ones",
                runner.max_batched_tokens,
                step,
            )
        self._division = division

    def of(self, role: str) -> bytes:
        """Its part, as JSON."""
        if role == FACTS:
            engine = self._config.engine
            cuda = engine.device == "cuda" or (engine.device == "auto" and no_cuda() is None)
            ranks = engine.tensor_parallel_size
            return encode_config(
                FactsConfig(model=engine.model, cuda=cuda, runner=engine.runner, ranks=ranks)
            )
        assert self._division is not None, "who comes earlier waits"
        roles = self._division.roles
        return encode_config(roles.get(role) or roles[kind_of(role)])


def _described(model: ModelFacts) -> str:
    taken = ", ".join(["text", *sorted(model.placeholders)])
    made = "text" if model.pooler is None else "vectors"
    return (
        f"{model.architecture or model.model_type}: {model.layers} layers of {model.hidden}, "
        f"vocabulary {model.vocab}, context {model.context}; it takes {taken} and makes {made}"
    )


def _switches(engine: EngineConfig) -> list[str]:
    """What was asked for that changes how answers are computed, for whoever reads a log later."""
    guess = speculation(engine.speculative_config)
    said = {
        "deterministic, every sequence and item is computed alone": engine.deterministic,
        f"speculative decoding, at most {guess.num_speculative_tokens if guess else 0} tokens "
        f"are guessed": guess,
        "no native kernels, torch's own operations are used in their place": (
            not engine.native_kernels
        ),
    }
    return [text for text, on in said.items() if on]
