"""How much room there is for keys, values and states beside the weights that are already loaded."""

import torch

from ...protocol.config.roles import RunnerConfig
from ...protocol.config.room import Room, Shape, bytes_for, divide_room
from ...protocol.errors import EngineError

CPU_BYTES = 1 << 30
"""On a CPU nothing else says how much may be taken."""
ACTIVATIONS_PER_TOKEN = 32
"""Vectors of the model's width that a step's activations take per token, generously."""


def room_that_fits(config: RunnerConfig, dtype: torch.dtype) -> Room:
    """Raises EngineError where less than one whole context fits."""
    model = config.model
    left = CPU_BYTES
    if config.device != "cpu":
        free, total = torch.cuda.mem_get_info(config.device)
        step = config.max_batched_tokens * model.hidden * dtype.itemsize * ACTIVATIONS_PER_TOKEN
        left = int(free - total * (1.0 - config.gpu_memory_utilization)) - step
    shape = Shape(
        config.block_size, config.max_model_len, config.max_num_seqs, config.max_batched_tokens
    )
    need = bytes_for(model, dtype.itemsize, shape)
    if need > left:
        raise EngineError(
            f"A context of {config.max_model_len} tokens needs {need >> 20} MiB of KV cache "
            f"and {max(left, 0) >> 20} MiB are left: lower max_model_len, or raise "
            f"gpu_memory_utilization."
        )
    most = bytes_for(model, dtype.itemsize, shape, shape.sequences)
    return divide_room(min(left, most), model, dtype.itemsize, shape)
