"""How many KV blocks fit beside the weights that are already loaded."""

import torch

from ..protocol.errors import EngineError
from ..protocol.roles import RunnerConfig

CPU_BYTES = 1 << 30
"""On a CPU nothing else says how much may be taken."""
ACTIVATIONS_PER_TOKEN = 32
"""Vectors of the model's width that a step's activations take per token, generously."""


def blocks_that_fit(config: RunnerConfig, dtype: torch.dtype) -> int:
    """Raises EngineError where less than one whole context fits."""
    model = config.model
    block_bytes = config.block_size * model.kv_bytes(dtype.itemsize)
    room = CPU_BYTES
    if config.device != "cpu":
        free, total = torch.cuda.mem_get_info(config.device)
        step = config.max_batched_tokens * model.hidden * dtype.itemsize * ACTIVATIONS_PER_TOKEN
        room = int(free - total * (1.0 - config.gpu_memory_utilization)) - step
    wanted = -(-config.max_model_len // config.block_size) * config.max_num_seqs
    blocks = min(room // block_bytes, wanted + 1)  # one of them is padding
    if (blocks - 1) * config.block_size < config.max_model_len:
        need = -(-config.max_model_len // config.block_size) * block_bytes
        raise EngineError(
            f"A context of {config.max_model_len} tokens needs {need >> 20} MiB of KV cache "
            f"and {max(room, 0) >> 20} MiB are left: lower max_model_len, or raise gpu_memory_utilization."
        )
    return blocks
