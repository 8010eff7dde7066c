"""What several roles must agree on: device and type, the context, room for keys and values,
threads, the length of a step."""

import os
from typing import NamedTuple

import msgspec

from ..errors import EngineError
from ..facts import MOST_CONTEXT, ModelFacts
from . import deterministic
from .engine import EngineConfig, Quantization
from .roles import Threads
from .room import Room, Shape, bytes_for, context_in, divide_room

GIB = 1 << 30
STEP, UNBROKEN_STEP = 512, 2048
"""Tokens of a step, unless told otherwise: the second where it must hold all items of a prompt, or
all of it."""
NUMBERS_PER_THREAD = 1 << 25
"""Weights of a model for each thread that computes it: a step of a small one is many short calls,
and ends later where two threads have to meet at each."""
MANY_ROWS_THREADS = 4
"""That even a small model keeps busy by hundreds of rows: a picture's patches, a prompt's
tokens."""
LEAST_CONTEXT = 1024
"""Tokens. Where not even so many fit, the model's own context stands, and is refused with what to
do."""


class Sizes(NamedTuple):
    """Of one engine."""

    device: str
    dtype: str
    context: int
    """Tokens."""
    room: Room | None
    """None: the runner measures."""
    runner: Threads
    encoder: Threads

    @property
    def itemsize(self) -> int:
        return 4 if self.dtype == "float32" else 2


def sizes_of(
    engine: EngineConfig, model: ModelFacts, cuda: bool, memory: int | None, bfloat16: bool
) -> Sizes:
    """See `divide`."""
    device = engine.device if engine.device != "auto" else ("cuda" if cuda else "cpu")
    if engine.quantization is not None and device != "cpu":
        raise EngineError(
            f"quantization={engine.quantization!r} is for a CPU, and this model would run on a "
            "GPU: choose device='cpu', or leave quantization out."
        )
    dtype = engine.dtype if engine.dtype != "auto" else _own_dtype(model, device, bfloat16)
    itemsize = 4 if dtype == "float32" else 2
    context = engine.max_model_len or _context_that_fits(engine, model, itemsize, memory)
    most = model.context if model.context_stated else MOST_CONTEXT
    if context > most:
        text = f"max_model_len={context} is more than the model's context of {most} tokens."
        raise EngineError(text)
    cores = max(1, len(os.sched_getaffinity(0)))
    runner = _runner_threads(engine, model, cores)
    encoder = _threads(engine.encoder_threads, model, cores, cores - cores // 2, MANY_ROWS_THREADS)
    if engine.deterministic:
        # As many threads whatever the other does: a product may cut its sums by them.
        runner, encoder = Threads(*(runner.alone,) * 3), Threads(*(encoder.beside,) * 3)
    unfilled = Sizes(device, dtype, context, None, runner, encoder)
    return unfilled._replace(room=_room(engine, model, unfilled))


def _own_dtype(model: ModelFacts, device: str, bfloat16: bool) -> str:
    """On a CPU bfloat16 only for weights that are stored so: of others it would round."""
    if device != "cpu" or (bfloat16 and model.dtype == "bfloat16"):
        return model.dtype
    return "float32"


def _runner_threads(engine: EngineConfig, model: ModelFacts, cores: int) -> Threads:
    """Of each of the processes that compute the model together: they meet at every layer, so none
    gives way to the encoder alone."""
    ranks = engine.tensor_parallel_size
    if ranks == 1:
        return _threads(engine.runner_threads, model, cores, cores // 2, 1)
    each = _threads(engine.runner_threads, model, max(1, cores // ranks), cores, 1)
    return Threads(*(each.alone,) * 3)


def _threads(given: int, model: ModelFacts, cores: int, part: int, least: int) -> Threads:
    """`part`: of the cores, while the other one computes as well. `least`: that a small model keeps
    busy. What an operator has `given` is kept to."""
    if given:
        return Threads(given, given, given)
    alone = min(cores, max(least, model.parameters // NUMBERS_PER_THREAD))
    return Threads(alone, min(alone, max(1, part)), min(cores, max(MANY_ROWS_THREADS, alone)))


def _context_that_fits(
    engine: EngineConfig, model: ModelFacts, itemsize: int, memory: int | None
) -> int:
    """The model's own, unless one sequence of it takes more than half of what the weights leave of
    the memory."""
    if memory is None or engine.kv_cache_gb is not None:
        return model.context
    left = (memory - weights_in_memory(model, itemsize, engine.quantization)) // 2
    fitting = context_in(left, model, itemsize, _shape(engine, model, model.context))
    return model.context if fitting < LEAST_CONTEXT else fitting


def weights_in_memory(model: ModelFacts, itemsize: int, quantization: Quantization = None) -> int:
    """Bytes of the weights as numbers of `itemsize` bytes, but for those that are held otherwise;
    in however few they are stored."""
    held = model.held_parameters if quantization == "int8" else 0
    return (model.parameters - held) * itemsize + held


def _room(engine: EngineConfig, model: ModelFacts, sizes: Sizes) -> Room | None:
    if not model.kv_groups and not model.recurrent:
        raise EngineError(
            f"Models of type {model.model_type!r} keep nothing of their tokens, which is not built."
        )
    shape, itemsize = _shape(engine, model, sizes.context), sizes.itemsize
    if engine.kv_cache_gb is None:
        if sizes.device != "cpu":
            return None
        wanted = max(GIB, bytes_for(model, itemsize, shape))
        most = bytes_for(model, itemsize, shape, shape.sequences)
        return divide_room(min(wanted, most), model, itemsize, shape)
    given = in_bytes(engine.kv_cache_gb)
    room = divide_room(given, model, itemsize, shape)
    if room.nbytes(model, itemsize, engine.block_size) > given or 1 in room.blocks:
        least = bytes_for(model, itemsize, msgspec.structs.replace(shape, context=1))
        raise EngineError(
            f"kv_cache_gb={engine.kv_cache_gb} is too little: a sequence of one token takes "
            f"{least} bytes."
        )
    return room


def _shape(engine: EngineConfig, model: ModelFacts, context: int) -> Shape:
    return Shape(engine.block_size, context, engine.max_num_seqs, step_of(engine, model, context))


def step_of(engine: EngineConfig, model: ModelFacts, context: int) -> int:
    """Tokens of one. A prompt whose text has no direction is computed in one piece, whatever an
    operator has said: a start logs that."""
    usual = engine.max_num_batched_tokens or _usual_step(engine, model)
    return max(usual, context) if model.span_scope == "text" else usual


def _usual_step(engine: EngineConfig, model: ModelFacts) -> int:
    usual = STEP if model.span_scope == "item" else UNBROKEN_STEP
    return max(usual, deterministic.tile(engine.block_size)) if engine.deterministic else usual


def in_bytes(gib: float) -> int:
    """Whole ones."""
    return int(gib * GIB)
