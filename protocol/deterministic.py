"""What the parts of an engine do otherwise whose answers must not depend on company (`deterministic`)."""

from .config import EngineConfig
from .errors import EngineError
from .roles import Threads

TILE = 64
"""Tokens that a prompt is cut at, at the least."""


def tile(engine: EngineConfig, step: int) -> int | None:
    """Tokens at whose multiples prompts are cut: whole blocks; None: anywhere. Raises EngineError where a `step` does not hold
    so many."""
    if not engine.deterministic:
        return None
    size = -(-TILE // engine.block_size) * engine.block_size
    if size > step:
        raise EngineError(
            f"deterministic computes {size} tokens of a prompt at once, and max_num_batched_tokens={step} is less: raise it."
        )
    return size


def batch_rows(engine: EngineConfig, usual: int) -> int:
    """Embedding rows in one batch of the encoder; 1: every item alone."""
    return 1 if engine.deterministic else usual


def fixed(engine: EngineConfig, runner: Threads, encoder: Threads) -> tuple[Threads, Threads]:
    """As many threads whatever the other does: a product may cut its sums by them."""
    if not engine.deterministic:
        return runner, encoder
    return Threads(*(runner.alone,) * 3), Threads(*(encoder.beside,) * 3)
