"""What the parts of an engine do otherwise whose answers must not depend on company
(`deterministic`)."""

TILE = 64
"""Tokens that a prompt is cut at, at the least."""


def tile(block_size: int) -> int:
    """Tokens at whose multiples prompts are cut: whole blocks."""
    return -(-TILE // block_size) * block_size


def check_tile(block_size: int, step: int | None) -> None:
    """Raises ValueError where a step of so many tokens does not hold one; None: steps are as long
    as they have to be."""
    if step is not None and (size := tile(block_size)) > step:
        raise ValueError(
            f"deterministic computes {size} tokens of a prompt at once, and "
            f"max_num_batched_tokens={step} is less: raise it."
        )
