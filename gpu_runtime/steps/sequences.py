"""The sequences a runner knows: one row each in a few arrays, so that a decode step is built
without a loop over tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..memory.kv_pool import PADDING
from ..pooling.pooling import Pooling
from ..sampling.sampler import SamplerState
from ..sampling.unrunnable import Unrunnable


@dataclass
class RunnerSequence:
    """What belongs to one sequence beside its row of the arrays."""

    prompt_tokens: int
    planes: NDArray[np.int32] | None
    """Rotary positions of the prompt [planes, prompt_tokens]; None: 0, 1, 2 ..."""
    delta: int
    """Rotary position of an output token minus its index."""
    sampler: SamplerState
    state: int = 0
    """The slot of its recurrent states; 0: the model has none."""
    pooling: Pooling | None = None
    """None: tokens are wanted."""
    row: int = -1
    """Given by the table."""
    fault: str | None = None
    """Why it is not computed any more; its state stays until the scheduler drops it."""


class SequenceTable:
    """Rows are handed out from a free list; the arrays double when it is empty."""

    def __init__(self, rows: int, max_tokens: int, block_size: int, blocks: Sequence[int]) -> None:
        """`blocks`: how many each table has."""
        self._max_tokens = max_tokens
        self._max_blocks = -(-max_tokens // block_size)
        self._limits = tuple(blocks)
        self._free = list(range(rows - 1, -1, -1))
        self._known: dict[int, RunnerSequence] = {}
        self.tokens = np.zeros((rows, max_tokens), dtype=np.int32)
        """Prompt and output token ids."""
        self.lengths = np.zeros(rows, dtype=np.int64)
        self.deltas = np.zeros(rows, dtype=np.int64)
        """Rotary position of an output token minus its index."""
        self.extents = np.zeros(rows, dtype=np.int64)
        """Positions that the prompt takes: one more than the largest of them."""
        self.block_tables = np.full((len(blocks), rows, self._max_blocks), PADDING, dtype=np.int32)
        """By table: blocks by position // block size; unused places name the padding block."""
        self.block_counts = np.zeros((len(blocks), rows), dtype=np.int64)
        self.capacities = np.zeros(rows, dtype=np.int64)
        """Blocks that a sequence has in every table; a model without tables needs none."""

    def __len__(self) -> int:
        return len(self._known)

    def get(self, seq: int) -> RunnerSequence | None:
        return self._known.get(seq)

    def add(
        self,
        seq: int,
        sequence: RunnerSequence,
        token_ids: Sequence[int],
        blocks: Sequence[Sequence[int]],
    ) -> None:
        """Replaces a sequence of the same number. Raises Unrunnable where it does not fit."""
        if len(token_ids) > self._max_tokens:
            raise Unrunnable("it has more tokens than the context.")
        self.drop(seq)
        if not self._free:
            self._double()
        row = sequence.row = self._free.pop()
        self._known[seq] = sequence
        self.tokens[row, : len(token_ids)] = token_ids
        self.lengths[row] = len(token_ids)
        self.deltas[row] = sequence.delta
        planes = sequence.planes
        self.extents[row] = sequence.prompt_tokens if planes is None else int(planes.max()) + 1
        self.append_blocks(row, blocks)

    def append_blocks(self, row: int, blocks: Sequence[Sequence[int]]) -> None:
        """`blocks`: of each table. Raises Unrunnable where they do not fit."""
        if len(blocks) != len(self._limits):
            raise Unrunnable("it has other block tables than the model.")
        for table, more in enumerate(blocks):
            first = int(self.block_counts[table, row])
            if first + len(more) > self._max_blocks:
                raise Unrunnable("it has more blocks than the context.")
            if more and not (min(more) >= 0 and max(more) < self._limits[table]):
                raise Unrunnable("it has a block outside the cache.")
            self.block_tables[table, row, first : first + len(more)] = more
            self.block_counts[table, row] = first + len(more)
        self.capacities[row] = self.block_counts[:, row].min(initial=self._max_blocks)

    def append_token(self, row: int, token: int) -> None:
        """A token past the context is not kept: the scheduler ends the sequence there."""
        length = int(self.lengths[row])
        if length < self._max_tokens:
            self.tokens[row, length] = token
            self.lengths[row] = length + 1

    def guess(self, row: int, tokens: Sequence[int]) -> None:
        """Write tokens behind its last one, to be computed and not kept."""
        length = int(self.lengths[row])
        self.tokens[row, length : length + len(tokens)] = tokens

    def drop(self, seq: int) -> None:
        """Forget it; idempotent."""
        known = self._known.pop(seq, None)
        if known is not None:
            self.block_tables[:, known.row] = PADDING
            self.block_counts[:, known.row] = 0
            self._free.append(known.row)

    def clear(self) -> None:
        for seq in list(self._known):
            self.drop(seq)

    def _double(self) -> None:
        rows = len(self.lengths)
        for name in ("tokens", "lengths", "deltas", "extents", "capacities"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate((array, np.zeros_like(array))))
        for name, unused in (("block_tables", PADDING), ("block_counts", 0)):
            array = getattr(self, name)
            setattr(self, name, np.concatenate((array, np.full_like(array, unused)), axis=1))
        self._free = list(range(2 * rows - 1, rows - 1, -1))
