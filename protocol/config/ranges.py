"""Between what bounds the numbers of the configuration must lie, by field: what lies outside is a
slip of the hand."""

import math
from typing import Any

import msgspec

ABOVE_ZERO = math.ulp(0.0)
"""As a lower bound."""
_GIB = 1 << 20
"""As an upper bound of GiB: a PiB, which no machine has."""
RANGES: dict[str, tuple[float, float]] = {
    "seed": (-(1 << 63), (1 << 63) - 1),
    "max_model_len": (1, 1 << 31),
    "max_num_seqs": (1, 1 << 16),
    "max_num_batched_tokens": (1, 1 << 24),
    "block_size": (1, 1 << 16),
    "kv_cache_gb": (ABOVE_ZERO, _GIB),
    "gpu_memory_utilization": (ABOVE_ZERO, 1),
    "tensor_parallel_size": (1, 64),
    "runner_threads": (0, 1024),
    "encoder_threads": (0, 1024),
    "mm_processor_cache_gb": (0, _GIB),
    "encoder_cache_gb": (0, _GIB),
    "encoder_cache_dir_gb": (ABOVE_ZERO, _GIB),
    "encoders": (1, 64),
    "decode_workers": (0, 256),
    "media_cache_max_size_mb": (ABOVE_ZERO, 1 << 40),
    "media_cache_ttl_hours": (ABOVE_ZERO, 1 << 40),
    "max_requests": (1, 1 << 20),
    "max_inflight_tokens": (1, 1 << 53),
    "max_media_gb": (ABOVE_ZERO, _GIB),
    "lease_seconds": (1, 1 << 20),
    "max_connections_per_address": (0, 1 << 31),
    "header_timeout": (ABOVE_ZERO, 1 << 31),
    "port": (0, 65_535),
    "drain_timeout": (0, 1 << 31),
    "max_stored_gb": (0, _GIB),
    "max_body_mb": (ABOVE_ZERO, 1 << 20),
}
"""Both bounds belong to the range. Not a number is in none."""


def check_ranges(settings: msgspec.Struct) -> None:
    """Raises ValueError naming the first field that is out of its range. A field that is None is
    not set."""
    for name in settings.__struct_fields__:
        if name in RANGES and (value := getattr(settings, name)) is not None:
            _check(name, value, *RANGES[name])


def _check(name: str, value: Any, low: float, high: float) -> None:
    if value < low or value != value:
        least = "above 0" if low == ABOVE_ZERO else f"at least {low}"
        raise ValueError(f"{name} must be {least}, got {value}.")
    if value > high:
        raise ValueError(f"{name} must be at most {high}, got {value}.")
