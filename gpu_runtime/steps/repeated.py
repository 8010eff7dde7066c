"""Decode steps whose inputs lie at fixed places in memory, so that a device records one step and
repeats it: of a small model most of a step is the launching of its kernels.

Rows are padded to one of a few counts by the last of them, again and again: what that one writes,
they write to the same place.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..attention.metadata import AttentionMetadata
from ..triton.step import DeviceStep, most_pieces
from .batch import Batch

log = logging.getLogger(__name__)

Work = Callable[[], torch.Tensor]
Record = Callable[[Work], tuple[torch.Tensor, Callable[[], object]]]
"""Records what a call launches: its answer, which stays where it is, and what launches all of it
again."""
Compute = Callable[[torch.Tensor, torch.Tensor, Sequence[AttentionMetadata]], torch.Tensor]
"""Hidden states [rows, hidden] of tokens int64 [rows] at positions int64 [rows], by the metadata of
each table."""
COUNTS = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Of rows; steps of more are not recorded."""
CLOSE = 3e-2
"""Distance of a repeated step from the same one as it was launched, by the largest number: a
product may be summed in another order, and is rounded to half precision. What is wrong is as far
away as the numbers themselves."""


class RepeatedDecode:
    """The steps of one model in which every sequence has one token.

    Every recording is tried before it is used: the step is computed as any other, then repeated.
    What cannot be recorded or comes out otherwise ends this for the life of the process, with one
    line in the log.
    """

    def __init__(
        self,
        compute: Compute,
        windows: Sequence[int | None],
        rows: int,
        blocks: int,
        device: torch.device,
        record: Record,
    ) -> None:
        """`windows`: of each table. `rows`: at most so many run. `blocks`: of the longest
        context."""
        self._compute = compute
        self._record: Record | None = record
        self._windows = windows
        self._counts = sorted({min(count, rows) for count in COUNTS})
        most = self._counts[-1]
        self._longs = torch.zeros((2 + len(windows), most), dtype=torch.int64, device=device)
        """Tokens, positions, and of each table where keys and values go."""
        self._lengths = torch.zeros(most, dtype=torch.int32, device=device)
        self._tables = torch.zeros((len(windows), most, blocks), dtype=torch.int32, device=device)
        self._nothing = torch.zeros((0, 4), dtype=torch.int32, device=device)
        self._recorded: dict[tuple[int, ...], tuple[torch.Tensor, Callable[[], object]]] = {}
        """By rows, and pieces of the longest context in each table."""

    def takes(self, batch: Batch) -> bool:
        rows = len(batch.works)
        plain = batch.positions.ndim == 1 and len(batch.tokens) == rows
        return self._record is not None and plain and rows <= self._counts[-1]

    def __call__(self, batch: Batch, blocks: NDArray[np.int32]) -> torch.Tensor:
        """Hidden states [works, hidden] of a step that this takes; `blocks` [tables, works,
        widest]."""
        works = len(batch.works)
        rows = next(count for count in self._counts if count >= works)
        self._fill(batch, blocks, rows)
        lengths = batch.starts + 1
        pieces = (1 << (most_pieces(lengths, window) - 1).bit_length() for window in self._windows)
        key = (rows, *pieces)
        if key not in self._recorded:
            return self._first(key)[:works]
        out, again = self._recorded[key]
        again()
        return out[:works]

    def _fill(self, batch: Batch, blocks: NDArray[np.int32], rows: int) -> None:
        own = np.minimum(np.arange(rows), len(batch.works) - 1)
        longs = np.concatenate((batch.tokens[None], batch.positions[None], batch.slot_mapping))[
            :, own
        ]
        self._longs[:, :rows].copy_(torch.from_numpy(longs))
        self._lengths[:rows].copy_(torch.from_numpy((batch.starts + 1)[own]))
        self._tables[:, :rows, : blocks.shape[2]].copy_(torch.from_numpy(blocks[:, own]))

    def _first(self, key: tuple[int, ...]) -> torch.Tensor:
        """The step as any other, with what the next ones of its form will be."""

        def work() -> torch.Tensor:
            tokens, positions = self._longs[:2, : key[0]]
            return self._compute(tokens, positions, self._metadata(*key))

        right = work()
        assert self._record is not None, "nothing is taken then"
        try:
            out, again = self._record(work)
            again()
            close = CLOSE * float(right.abs().max())
            if not torch.allclose(out, right, rtol=0, atol=close, equal_nan=True):
                raise RuntimeError("it has other numbers")
            self._recorded[key] = out, again
        except Exception:  # of a driver
            log.warning(
                "steps are launched one by one: a recorded one cannot be repeated", exc_info=True
            )
            self._record = None
            self._recorded.clear()
        return right

    def _metadata(self, rows: int, *pieces: int) -> list[AttentionMetadata]:
        return [
            AttentionMetadata(
                self._longs[2 + table, :rows], (), [],
                on_device=DeviceStep(
                    rows, most, 0, self._tables[table, :rows], self._lengths[:rows], self._nothing,
                    self._nothing[:, 0]
                ),
            )
            for table, most in enumerate(pieces)
        ]  # fmt: skip


def recorder_for(device: torch.device) -> Record | None:
    """None: nothing is recorded there."""
    return CudaGraphs() if device.type == "cuda" else None


class CudaGraphs:
    """Records by CUDA graphs, which share their memory: of two, one is repeated after the other's
    answer has been used."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Work) -> tuple[torch.Tensor, Callable[[], object]]:
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            out = work()
        return out, graph.replay
