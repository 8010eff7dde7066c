"""Chunks of prompts read in place: equal to torch's attention over gathered copies with the masks
that families have, and the same whatever else is computed with them."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thespis.gpu_runtime.attention.in_place import InPlace
from thespis.gpu_runtime.attention.metadata import AttentionMetadata, build_metadata
from thespis.gpu_runtime.attention.paged import PagedAttention
from thespis.gpu_runtime.attention.seen import InPlaceChunks
from thespis.gpu_runtime.layers.how import How
from thespis.gpu_runtime.memory.kv_pool import PADDING, KvPool
from thespis.gpu_runtime.native.build import best_level, library_path
from thespis.gpu_runtime.native.library import Kernels
from thespis.protocol.facts import KvGroup, KvTable, SpanWindows

from ...helpers.kernels import asks_the_compiler, kernels, needs_kernels

pytestmark = [needs_kernels, asks_the_compiler]
CPU = torch.device("cpu")


class World:
    """Sequences of which some tokens are to be computed: [(first position, tokens)], single ones
    first."""

    def __init__(
        self, works: list[tuple[int, int]], heads: tuple[int, int], width: int, size: int,
        window: int | None,
        dtype: torch.dtype, seed: int, spans: np.ndarray[Any, Any] | None = None,
    ) -> None:  # fmt: skip
        torch.manual_seed(seed)
        dice = np.random.default_rng(seed)
        self.works = sorted(works, key=lambda work: (work[1] > 1, -work[0]))
        self.starts, self.counts = (
            np.array(each, dtype=np.int64) for each in zip(*self.works, strict=True)
        )
        self.edges = list(pairwise(np.concatenate(([0], self.counts.cumsum())).tolist()))
        self.window, self.spans, self.size, kv_heads = window, spans, size, heads[1]
        per = max(-(-(start + count) // size) for start, count in works)
        group = KvGroup(
            layers=(0,), kv_heads=kv_heads, key_dim=width, value_dim=width, window=window
        )
        self.pool = KvPool([KvTable(window, (group,))], [1 + len(works) * per], size, dtype, CPU)
        self.tables = (
            (1 + dice.permutation(len(works) * per)).astype(np.int32).reshape(len(works), per)
        )
        for row, start in enumerate(self.starts.tolist()):
            before = np.arange(start)
            self.pool.slots[0][self._slots(row, before)] = torch.randn(
                start, 2, kv_heads, width
            ).to(dtype)
            if window is not None:
                self.tables[row, : max(0, start - window + 1) // size] = PADDING
        tokens = int(self.counts.sum())
        self.query = torch.randn(tokens, heads[0] * kv_heads, width).to(dtype)
        self.kv = torch.randn(tokens, 2, kv_heads, width).to(dtype)

    def _slots(self, row: int, at: Any) -> torch.Tensor:
        return torch.from_numpy(
            self.tables[row, at // self.size].astype(np.int64) * self.size + at % self.size
        )

    def layout(self, in_place: bool, rows: slice = slice(None)) -> AttentionMetadata:
        parts = list(zip(range(len(self.works)), self.works, strict=True))[rows]
        slots = np.concatenate(
            [
                self._slots(row, np.arange(start, start + count)).numpy()
                for row, (start, count) in parts
            ]
        )
        tables, spans = self.tables[rows], self.spans
        return build_metadata(
            self.starts[rows],
            self.counts[rows],
            tables,
            slots,
            self.size,
            CPU,
            None,
            self.window,
            spans,
            in_place,
        )

    def attend(
        self,
        kernels: Kernels | None,
        how: How,
        windows: SpanWindows = "behind",
        rows: slice = slice(None),
    ) -> torch.Tensor:
        edges = self.edges[rows]
        tokens = slice(edges[0][0], edges[-1][1])
        attention = PagedAttention(self.pool, () if self.spans is None else (0,), windows, kernels)
        attention.begin([self.layout(kernels is not None, rows)])
        return attention(0, self.query[tokens], self.kv[tokens], how)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from([1, 2, 3, 20, 70, 150])),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([(1, 1), (2, 2), (7, 2), (9, 1), (20, 1), (3, 3), (130, 1)]),
    st.sampled_from([16, 32, 48, 64, 128]),
    st.sampled_from([1, 3, 16, 24]),
    st.none() | st.integers(1, 200),
    st.none() | st.sampled_from([5.0, 50.0]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1, 2]),
    st.integers(0, 1 << 20),
)
def test_chunks_are_those_of_torch(
    works: list[tuple[int, int]], heads: tuple[int, int], width: int, size: int, window: int | None,
    softcap: float | None,
    has_sinks: bool, half: bool, wide: bool, threads: int, seed: int,
) -> None:  # fmt: skip
    world = World(
        works, heads, width, size, window, torch.bfloat16 if half else torch.float32, seed
    )
    how = How(
        width**-0.5, window, softcap, torch.randn(world.query.shape[1]) if has_sinks else None
    )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = world.attend(kernels(wide), how)
    finally:
        torch.set_num_threads(before)
    rtol, atol = (8e-3, 3e-2) if half else (2e-5, 1e-5)
    torch.testing.assert_close(found, world.attend(None, how), rtol=rtol, atol=atol)
    for row, (first, last) in enumerate(world.edges):
        alone = world.attend(kernels(wide), how, rows=slice(row, row + 1))
        assert torch.equal(alone, found[first:last]), "it depends on the sequences beside it"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([-1, -1, 0, 1, 2]), st.integers(1, 30)), min_size=1, max_size=6
    ),
    st.integers(0, 60),
    st.none() | st.integers(1, 50),
    st.sampled_from(["none", "behind", "both"]),
    st.booleans(),
    st.integers(0, 1 << 20),
)
def test_tokens_of_a_span_see_each_other_as_the_family_has_it(
    stretches: list[tuple[int, int]],
    start: int,
    window: int | None,
    windows: SpanWindows,
    second: bool,
    seed: int,
) -> None:
    spans = np.concatenate([np.full(count, span, dtype=np.int64) for span, count in stretches])
    works = [(start, len(spans))]
    if second:
        works, spans = (
            [*works, (max(0, start - 5), len(spans))],
            np.concatenate((spans, spans[::-1])),
        )
    works = [(max(start, 1), count) for start, count in works] if len(spans) <= 2 else works
    world = World(works, (2, 1), 16, 16, window, torch.float32, seed, spans)
    how = How(0.25, window)
    torch.testing.assert_close(
        world.attend(kernels(), how, windows),
        world.attend(None, how, windows),
        rtol=2e-5,
        atol=1e-5,
    )


def test_spans_of_several_stretches_are_gathered() -> None:
    """As where all pictures of a prompt see each other: what their tokens see has gaps."""
    for spans, gathered in (([0, 0, -1, 0], 1), ([0, 0, -1, 1], 0), ([-1, -1, -1, -1], 0)):
        world = World([(5, 4)], (2, 1), 16, 16, None, torch.float32, 0, np.array(spans))
        assert len(world.layout(in_place=True).chunks) == gathered


def test_a_token_is_the_same_however_a_prompt_is_cut() -> None:
    """Each is added up in steps that begin at fixed positions: chunks may end anywhere."""
    whole = World([(0, 300)], (7, 2), 64, 16, None, torch.float32, 3)
    found = whole.attend(kernels(), How(0.125))
    for first, last in ((0, 130), (130, 133), (133, 300)):
        chunks = InPlaceChunks(0, np.array([first]), np.array([last - first]), whole.tables, None)
        part = torch.empty(last - first, found.shape[1])
        seen = chunks.seen(both_ways=False, windows="behind")
        assert seen is not None
        InPlace(kernels(), whole.pool).chunks(0, whole.query[first:last], seen, How(0.125), part)
        assert torch.equal(part, found[first:last])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_stays_so_in_its_own_sequence(bad: float) -> None:
    world = World([(20, 60), (3, 50)], (2, 2), 32, 16, None, torch.float32, 1)
    world.query[2, 1, 5] = bad
    found = world.attend(kernels(), How(0.2))
    assert not found[2].isfinite().all()
    assert found[60:].isfinite().all()


def test_scores_that_rise_far_stay_exact() -> None:
    world = World([(500, 90)], (4, 1), 64, 16, None, torch.float32, 2)
    world.pool.slots[0][:, 0] *= torch.linspace(0.1, 60, len(world.pool.slots[0]))[:, None, None]
    torch.testing.assert_close(
        world.attend(kernels(), How(0.125)), world.attend(None, How(0.125)), rtol=1e-4, atol=1e-4
    )


def test_a_small_model_s_long_chunks_have_more_threads_than_its_other_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernels = Kernels(str(library_path(best_level())))
    threads: list[int] = []
    monkeypatch.setattr(kernels, "attend_chunks", lambda call: threads.append(call.threads))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for count in (10, 700):
            world = World([(600, count)], (2, 2), 64, 16, None, torch.float32, 0)
            attention = PagedAttention(world.pool, kernels=kernels)
            attention.threads_of_long_chunks = 3
            attention.begin([world.layout(in_place=True)])
            attention(0, world.query, world.kv, How(0.125))
    finally:
        torch.set_num_threads(before)
    assert threads == [1, 3]
