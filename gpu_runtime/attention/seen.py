"""What the tokens of a step see, as the native kernels are told it: single rows of decoding
sequences, chunks of prompts."""

import numpy as np
from numpy.typing import NDArray

from ...protocol.facts import SpanWindows
from ..memory.pieces import Ints, pieces_read
from ..native.library import Chunks, Rows

PIECE = 256
"""Tokens of a context that one task reads. Cuts lie at fixed positions, so a row's result is the
same in every company."""
WORTH_THREADS = 1024
"""Tokens that all rows see together; fewer are read before other threads have woken."""


class InPlaceRows:
    """The first rows of a step, one token each, and the pieces of their contexts. A piece is one
    task of the kernel, which gives it a softmax of its own and merges a row's pieces afterwards:
    threads share a long context."""

    first = 0
    """Of the step's tokens; `last`: the one after them."""

    def __init__(
        self, tables: NDArray[np.int32], lengths: NDArray[np.int64], window: int | None
    ) -> None:
        """`tables` [rows, blocks] of contexts of `lengths` tokens, the row's own included, of which
        the last `window` are seen; blocks behind are not looked at."""
        begins, pieces = pieces_read(lengths, window, PIECE)
        firsts = np.concatenate((np.zeros(1, dtype=np.int64), pieces.cumsum()))
        rows = np.repeat(np.arange(len(lengths)), pieces)
        starts = (np.arange(len(rows)) - firsts[rows] + begins[rows]) * PIECE
        self.tables = np.ascontiguousarray(tables)
        self.lengths = lengths.astype(np.int32)
        self.tasks = np.stack((rows, starts), axis=1).astype(np.int32)
        """[tasks, 2]: a row, and the first position of a piece of its context."""
        self.firsts = firsts.astype(np.int32)
        """[rows + 1]: the first task of each row."""
        self.is_long = int(np.minimum(lengths, window or lengths).sum()) > WORTH_THREADS
        """It is worth several threads."""
        self.struct = Rows(
            *(each.ctypes.data for each in (self.tables, self.lengths, self.tasks, self.firsts)),
            tables.shape[1], len(lengths), len(self.tasks), PIECE,
        )  # fmt: skip
        """The same for the kernels; it points into the arrays."""

    @property
    def last(self) -> int:
        return len(self.lengths)


class SeenByChunks:
    """One stretch of positions for each token of some chunks."""

    def __init__(
        self, first: int, tables: NDArray[np.int32], edges: NDArray[np.int32], lows: Ints,
        highs: Ints
    ) -> None:  # fmt: skip
        """`tables` [chunks, blocks] of sequences whose tokens, [edges[i], edges[i + 1]) behind the
        `first` of the step, see positions [low, high)."""
        self.first = first
        self.lows, self.highs = lows.astype(np.int32), highs.astype(np.int32)
        self.pairs = int((highs - lows).sum())
        """Of a token and a position that it sees."""
        self.is_long = self.pairs > WORTH_THREADS
        """It is worth several threads."""
        self._alive = tables, edges
        self.struct = Chunks(
            *(each.ctypes.data for each in (tables, edges, self.lows, self.highs)),
            tables.shape[1],
            len(tables),
        )
        """The same for the kernels; it points into the arrays."""


class InPlaceChunks:
    """The last works of a step, several tokens each."""

    def __init__(
        self,
        first: int,
        starts: Ints,
        counts: Ints,
        tables: NDArray[np.int32],
        window: int | None,
        spans: Ints | None = None,
    ) -> None:
        """`first`: of the step's tokens. Of each chunk the position of its first token, how many it
        has, and in `tables` [chunks, blocks] its sequence's blocks. `spans` [tokens of all]: see
        `metadata.Chunk`."""
        self._first = first
        self._tables = np.ascontiguousarray(tables)
        edges = np.concatenate((np.zeros(1, dtype=np.int64), counts.cumsum()))
        self._edges = edges.astype(np.int32)
        self._shift = np.repeat(starts - edges[:-1], counts)
        """[tokens]: from a token's place in the step to its position."""
        self._positions = np.arange(len(self._shift)) + self._shift
        self._window = window
        self._runs = None if spans is None or (spans < 0).all() else _runs(spans, edges)
        """[tokens, 2]: the first place of each token's span, and the one after its last."""
        self.has_gaps = (
            self._runs is not None
            and spans is not None
            and not _are_unbroken(spans, edges, self._runs)
        )
        """Where tokens of a span see each other, they do not see all that lies between them."""
        self._seen: dict[bool, SeenByChunks] = {}

    def seen(self, both_ways: bool, windows: SpanWindows) -> SeenByChunks | None:
        """`both_ways`: tokens of a span see each other, `windows`: as far as this. None: what they
        see has gaps."""
        both_ways = both_ways and self._runs is not None
        if both_ways and self.has_gaps:
            return None
        if both_ways not in self._seen:
            lows, highs = self._stretches(both_ways, windows)
            self._seen[both_ways] = SeenByChunks(
                self._first, self._tables, self._edges, lows, highs
            )
        return self._seen[both_ways]

    def _stretches(self, both_ways: bool, windows: SpanWindows) -> tuple[Ints, Ints]:
        at, window = self._positions, self._window
        lows = np.zeros_like(at) if window is None else np.maximum(at - window + 1, 0)
        highs = at + 1
        if both_ways and self._runs is not None:
            first, last = (self._runs + self._shift[:, None]).T
            highs = np.maximum(highs, last)
            if windows == "none":
                lows = np.minimum(lows, first)
            elif windows == "both" and window is not None:
                highs = np.minimum(highs, at + window)
        return lows, highs


def _runs(spans: Ints, edges: Ints) -> Ints:
    """[tokens, 2]: of each token's span its first place and the one after its last; of a token in
    none, its own."""
    places = np.arange(len(spans))
    begins = np.ones(len(spans), dtype=np.bool_)
    begins[1:] = (spans[1:] != spans[:-1]) | (spans[1:] < 0)
    begins[edges[:-1]] = True
    firsts = np.maximum.accumulate(np.where(begins, places, 0))
    ends = np.append(np.flatnonzero(begins)[1:], len(spans))
    return np.stack((firsts, ends[begins.cumsum() - 1]), axis=1)


def _are_unbroken(spans: Ints, edges: Ints, runs: Ints) -> bool:
    """Whether the tokens of each span lie side by side."""
    heads = (runs[:, 0] == np.arange(len(spans))) & (spans >= 0)
    chunk = np.searchsorted(edges, np.flatnonzero(heads), side="right")
    return len(np.unique(np.stack((chunk, spans[heads])), axis=1).T) == int(heads.sum())
