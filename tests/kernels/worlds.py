"""Steps over a pool in which everything that nobody may read is NaN, and what attention makes of
them in float64."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch

from thespis.gpu_runtime.attention.metadata import build_metadata
from thespis.gpu_runtime.attention.paged import PagedAttention
from thespis.gpu_runtime.layers.how import How
from thespis.gpu_runtime.memory.kv_pool import PADDING, KvPool
from thespis.gpu_runtime.triton.attention import TritonKernels
from thespis.protocol.facts import KvGroup, KvTable, SpanWindows

Work = tuple[int, int]
"""Where it starts, and how many tokens it has."""


@dataclass(frozen=True)
class World:
    works: Sequence[Work]
    """Those of one token first."""
    heads: tuple[int, int] = (14, 2)
    """Of queries, of keys."""
    width: int = 64
    size: int = 16
    """Of blocks."""
    dtype: torch.dtype = torch.float32
    window: int | None = None
    softcap: float | None = None
    has_sinks: bool = False
    spans: tuple[int, ...] | None = None
    """Of each token of the step."""
    span_windows: SpanWindows = "behind"
    seed: int = 0

    @cached_property
    def qkv(self) -> torch.Tensor:
        dice = torch.Generator().manual_seed(self.seed)
        tokens = sum(count for _, count in self.works)
        return torch.randn(
            tokens, self.heads[0] + 2 * self.heads[1], self.width, generator=dice
        ).to(self.dtype)

    @cached_property
    def contexts(self) -> list[torch.Tensor]:
        """Keys and values [positions, 2, kv_heads, width] of each work, its own last."""
        dice = torch.Generator().manual_seed(self.seed + 1)
        written = self.qkv[:, self.heads[0] :].view(-1, 2, self.heads[1], self.width)
        own = torch.split(written, [count for _, count in self.works])
        before = [
            torch.randn(start, 2, self.heads[1], self.width, generator=dice).to(self.dtype)
            for start, _ in self.works
        ]
        return [torch.cat(both) for both in zip(before, own, strict=True)]

    @cached_property
    def how(self) -> How:
        sinks = torch.linspace(-2, 3, self.heads[0]) if self.has_sinks else None
        return How(self.width**-0.5, self.window, self.softcap, sinks)

    def run(self, kernels: TritonKernels, device: torch.device) -> torch.Tensor:
        """[tokens, heads * width] as served: through the interface of all attention."""
        ends = [start + count for start, count in self.works]
        per = -(-max(ends) // self.size)
        group = KvGroup(
            layers=(0,),
            kv_heads=self.heads[1],
            key_dim=self.width,
            value_dim=self.width,
            window=self.window,
        )
        pool = KvPool(
            [KvTable(self.window, (group,))], [1 + per * len(ends)], self.size, self.dtype, device
        )
        pool.blocks[0].fill_(torch.nan)
        tables = self._tables(per)
        for table, (start, _), context in zip(tables, self.works, self.contexts, strict=True):
            first = self._first(start)
            pool.slots[0][_slots(table, self.size, first, start)] = context[first:start].to(device)
        slots = np.concatenate(
            [
                _slots(table, self.size, start, end)
                for table, (start, _), end in zip(tables, self.works, ends, strict=True)
            ]
        )
        attention = PagedAttention(
            pool, () if self.spans is None else (0,), self.span_windows, kernels
        )
        assert attention.on_device == (True,)
        starts, counts = (np.array(each, dtype=np.int64) for each in zip(*self.works, strict=True))
        spans = None if self.spans is None else np.array(self.spans, dtype=np.int64)
        attention.begin(
            [
                build_metadata(
                    starts,
                    counts,
                    tables,
                    slots,
                    self.size,
                    device,
                    None,
                    self.window,
                    spans,
                    on_device=True,
                )
            ]
        )
        qkv = self.qkv.to(device)
        kv = qkv[:, self.heads[0] :].view(len(qkv), 2, self.heads[1], self.width)
        how = (
            self.how
            if self.how.sinks is None
            else self.how._replace(sinks=self.how.sinks.to(device))
        )
        return attention(0, qkv[:, : self.heads[0]], kv, how).cpu()

    def alone(self, work: int) -> "World":
        """The same work in a step of its own: its numbers are those that it has in company."""
        first = sum(count for _, count in self.works[:work])
        last = first + self.works[work][1]
        spans = None if self.spans is None else self.spans[first:last]
        one = replace(self, works=(self.works[work],), spans=spans)
        one.__dict__.update(qkv=self.qkv[first:last], contexts=[self.contexts[work]])
        return one

    def expected(self) -> torch.Tensor:
        """float64, by a mask over everything."""
        edges = pairwise(np.cumsum([0, *(count for _, count in self.works)]))
        return torch.cat([self._work(work, slice(*edge)) for work, edge in enumerate(edges)])

    def _work(self, work: int, tokens: slice) -> torch.Tensor:
        start, count = self.works[work]
        kv = self.contexts[work].double()
        query = self.qkv[tokens, : self.heads[0]].double()
        keys, values = (
            kv[:, each].repeat_interleave(self.heads[0] // self.heads[1], 1) for each in (0, 1)
        )
        scores = torch.einsum("thd,phd->htp", query, keys) * self.how.scale
        if self.softcap is not None:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        scores = scores.masked_fill(~self._seen(start, count, tokens), -torch.inf)
        if self.how.sinks is not None:
            column = self.how.sinks.double()[:, None, None].expand(-1, count, 1)
            scores = torch.cat((scores, column), -1)
        weights = scores.softmax(-1)[..., : start + count]
        return torch.einsum("htp,phd->thd", weights, values).reshape(count, -1)

    def _seen(self, start: int, count: int, tokens: slice) -> torch.Tensor:
        rows, columns = torch.arange(start, start + count)[:, None], torch.arange(start + count)
        window = self.window or 1 << 30
        behind, before = columns > rows - window, columns < rows + window
        seen = (columns <= rows) & behind
        if self.spans is None:
            return seen
        told = torch.full((start + count,), -1)
        told[start:] = torch.tensor(self.spans[tokens])
        same = (told == told[start:, None]) & (told >= 0)
        return seen | (
            same
            & {"none": torch.tensor(True), "behind": behind, "both": behind & before}[
                self.span_windows
            ]
        )

    def _first(self, start: int) -> int:
        """The first position that the work's first token sees."""
        return 0 if self.window is None else max(0, start - self.window + 1)

    def _tables(self, per: int) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
        """Blocks behind a window were given back."""
        free = iter(
            np.random.default_rng(self.seed).permutation(np.arange(1, 1 + per * len(self.works)))
        )
        tables = np.full((len(self.works), per), PADDING, dtype=np.int32)
        for table, (start, count) in zip(tables, self.works, strict=True):
            held = slice(self._first(start) // self.size, -(-(start + count) // self.size))
            table[held] = [next(free) for _ in range(held.start, held.stop)]
        return tables


def _slots(
    table: np.ndarray[tuple[int, ...], np.dtype[np.int32]], size: int, first: int, last: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    at = np.arange(first, last)
    return table[at // size].astype(np.int64) * size + at % size
