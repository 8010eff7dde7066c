"""From the works of a plan to the flat arrays of one step. Pure numpy."""

from dataclasses import dataclass

import numpy as np

from ...protocol.edges.scheduler_to_gpu_runner import Work
from ..memory.pieces import Ints
from .sequences import RunnerSequence, SequenceTable


@dataclass
class Batch:
    """Works in step order: those of one token first, by falling context; then the others. Tokens
    lie in the same order."""

    works: list[Work]
    sequences: list[RunnerSequence]
    starts: Ints
    counts: Ints
    offsets: Ints
    """[works + 1]: where each work's tokens begin in the flat step."""
    rows: Ints
    tokens: Ints
    slot_mapping: Ints
    """[tables, tokens]: where each token's key and value go."""
    positions: Ints
    """[tokens], or [planes, tokens] where a prompt brings its own."""
    lengths: Ints
    """[tokens]: positions that the prompt of each token's sequence takes."""
    hidden: Ints
    """[works + 1]: where each work's rows begin among the hidden states, which are of all its
    tokens or of its last alone."""


def build_batch(
    entries: list[tuple[Work, RunnerSequence]],
    table: SequenceTable,
    block_size: int,
    narrow: bool = False,
) -> Batch:
    """`entries` are valid: each work lies inside its sequence's tokens and blocks. `narrow`: of
    their last tokens alone hidden states are wanted."""
    entries = sorted(entries, key=_order)
    works = [work for work, _ in entries]
    sequences = [sequence for _, sequence in entries]
    starts = np.array([work.start for work in works], dtype=np.int64)
    counts = np.array([work.count for work in works], dtype=np.int64)
    rows = np.array([sequence.row for sequence in sequences], dtype=np.int64)
    offsets = np.concatenate((np.zeros(1, dtype=np.int64), counts.cumsum()))
    if offsets[-1] == len(works):  # decode only: one token each
        row, index = rows, starts
    else:
        row = rows.repeat(counts)
        index = np.arange(offsets[-1]) + (starts - offsets[:-1]).repeat(counts)
    tokens = table.tokens[row, index].astype(np.int64)
    blocks = table.block_tables[:, row, index // block_size].astype(np.int64)
    slot_mapping = blocks * block_size + index % block_size
    positions = _positions(works, sequences, offsets, index + table.deltas[row])
    hidden = np.arange(len(works) + 1) if narrow else offsets
    return Batch(
        works, sequences, starts, counts, offsets, rows, tokens, slot_mapping, positions,
        table.extents[row], hidden,
    )  # fmt: skip


def _order(entry: tuple[Work, RunnerSequence]) -> tuple[bool, int]:
    work, _ = entry
    return work.count > 1, -work.start


def _positions(
    works: list[Work], sequences: list[RunnerSequence], offsets: Ints, output: Ints
) -> Ints:
    """`output` [tokens]: index + delta, right for output tokens; prompts without planes have delta
    0."""
    positions = output
    for first, work, sequence in zip(offsets[:-1].tolist(), works, sequences, strict=True):
        planes = sequence.planes
        if planes is None or work.start >= sequence.prompt_tokens:
            continue
        if positions is output:
            positions = np.repeat(output[None], len(planes), axis=0)
        end = min(work.start + work.count, sequence.prompt_tokens)
        positions[:, first : first + end - work.start] = planes[:, work.start : end]
    return positions
